"""Least-squares fits over a few points, such as the layers of a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from analyze.statistics.estimates import Estimate, over_points
from analyze.statistics.jackknife import Float

FEWEST_POINTS = 3  # a line through two points fits exactly
PERMUTATIONS = 1000


@dataclass(frozen=True)
class LogLogFit:
    """A line through log y against log x.

    slope: estimate whose replicates leave out a point each.
    p: p-value of a permutation test; the null hypothesis is a slope of 0.
    rho: Spearman's rank correlation.
    """

    slope: Estimate
    intercept: float
    p: float
    rho: float


def fit_log_log(x: Float, y: Float, *, seed: int = 0) -> LogLogFit | None:
    """Fit log y [points] against log x [points], both positive, by least squares.

    Return None with fewer than FEWEST_POINTS points, or if a y is 0.
    """
    if len(x) < FEWEST_POINTS or not (y > 0).all():
        return None
    log_x, log_y = np.log(x), np.log(y)

    def slope_of(points: NDArray[np.int64]) -> float:
        return float(_slope(log_x[points], log_y[points]))

    slope = over_points(slope_of, len(x))
    rng = np.random.default_rng(seed)
    shuffled = np.stack([rng.permutation(log_y) for _ in range(PERMUTATIONS)])
    null_slopes = _slope(np.broadcast_to(log_x, shuffled.shape), shuffled)
    p = (1 + np.sum(np.abs(null_slopes) >= abs(slope.value))) / (1 + PERMUTATIONS)
    intercept = float(log_y.mean() - slope.value * log_x.mean())
    return LogLogFit(slope, intercept, float(p), float(spearmanr(log_x, log_y).statistic))


def _slope(x: Float, y: Float) -> Float:
    """Return the least-squares slope along the last axis."""
    dx = x - x.mean(axis=-1, keepdims=True)
    return np.asarray((dx * (y - y.mean(axis=-1, keepdims=True))).sum(axis=-1) / np.square(dx).sum(axis=-1))
