"""The change of a noisy series: the slope of a straight line through it, by least squares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analyze.statistics.jackknife import critical_value

FEWEST_POINTS = 3  # a line through two points leaves no residual


@dataclass(frozen=True)
class Trend:
    """The change of a series over a stretch of its axis, from a line through `points` of its points.

    standard_error: from the residuals, which are taken as independent, as those of different batches are.
    mean: the mean of the series.
    """

    change: float
    standard_error: float
    mean: float
    points: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval (low, high) of the change."""
        half_width = critical_value(self.points - 2) * self.standard_error
        return self.change - half_width, self.change + half_width

    def relative_to(self, scale: float) -> Trend:
        """Return the trend of the series divided by a positive number."""
        return Trend(self.change / scale, self.standard_error / scale, self.mean / scale, self.points)


def trend(positions: Sequence[float], values: Sequence[float], stretch: float) -> Trend | None:
    """Return the change of values [points] over a stretch of positions [points]; None with fewer than three points."""
    x, y = np.asarray(positions, dtype=np.float64), np.asarray(values, dtype=np.float64)
    n = len(x)
    if n < FEWEST_POINTS:
        return None
    x, centred = (x - x.mean()) / stretch, y - y.mean()
    spread = float(x @ x)
    slope = float(x @ centred) / spread
    residuals = centred - slope * x
    return Trend(slope, math.sqrt(float(residuals @ residuals) / (n - 2) / spread), float(y.mean()), n)
