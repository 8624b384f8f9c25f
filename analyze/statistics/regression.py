"""Least-squares fits over a few points, such as the layers of a model, with intervals by resampling the points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from analyze.statistics import bootstrap
from analyze.statistics.bootstrap import Float
from analyze.statistics.estimates import Estimate

FEWEST_POINTS = 3  # a line through two points fits exactly


@dataclass(frozen=True)
class LogLogFit:
    """A line through log y against log x.

    slope: estimate whose replicates come from resampled points.
    p: p-value of a permutation test; the null hypothesis is a slope of 0.
    rho: Spearman's rank correlation.
    """

    slope: Estimate
    intercept: float
    p: float
    rho: float


def fit_log_log(x: Float, y: Float, *, seed: int = 0, resamples: int = bootstrap.RESAMPLES) -> LogLogFit | None:
    """Fit log y [points] against log x [points], both positive, by least squares.

    Return None with fewer than FEWEST_POINTS points, or if a y is 0. Two fits with the same x and seed use the same
    resamples, so their slopes are paired.
    """
    if len(x) < FEWEST_POINTS or not (y > 0).all():
        return None
    log_x, log_y = np.log(x), np.log(y)
    rng = np.random.default_rng(seed)
    picks = resampled_points(log_x, rng, resamples)
    value = float(_slope(log_x, log_y))
    shuffled = np.stack([rng.permutation(log_y) for _ in range(resamples)])
    null_slopes = _slope(np.broadcast_to(log_x, shuffled.shape), shuffled)
    p = (1 + np.sum(np.abs(null_slopes) >= abs(value))) / (1 + resamples)
    slope = Estimate(value, np.asarray(_slope(log_x[picks], log_y[picks])), len(x))
    intercept = float(log_y.mean() - value * log_x.mean())
    return LogLogFit(slope, intercept, float(p), float(spearmanr(log_x, log_y).statistic))


def _slope(x: Float, y: Float) -> Float:
    """Return the least-squares slope along the last axis."""
    dx = x - x.mean(axis=-1, keepdims=True)
    return np.asarray((dx * (y - y.mean(axis=-1, keepdims=True))).sum(axis=-1) / np.square(dx).sum(axis=-1))


def resampled_points(
    x: Float, rng: np.random.Generator, resamples: int = bootstrap.RESAMPLES, *, min_distinct: int = 2
) -> NDArray[np.int64]:
    """Draw points with replacement: indices int64 [resamples, points].

    Each resample has at least `min_distinct` different values of x [points], as many as the fit needs.
    """
    picks = rng.integers(len(x), size=(resamples, len(x)))
    while (too_few := 1 + (np.diff(np.sort(x[picks])) > 0).sum(axis=1) < min_distinct).any():
        picks[too_few] = rng.integers(len(x), size=(int(too_few.sum()), len(x)))
    return picks


def mean_over_points(values: Float) -> Estimate | None:
    """Return the mean of values [points], with the points resampled; None without values."""
    if not len(values):
        return None
    replicates = bootstrap.weights(len(values)) @ values / len(values)
    return Estimate(float(values.mean()), replicates, len(values))
