"""The slope of a line through the layers of a model, whose residuals are alike in neighbouring layers.

Layers are neighbours rather than a sample, so intervals that resample them are far too narrow. The correlation of
residuals ρ^|i − j| is unknown, and a dozen layers cannot tell it. The interval is therefore the union of the intervals
of generalised least squares over every ρ from 0 to LARGEST_CORRELATION.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analyze.statistics.jackknife import LEVEL, Float, critical_value

LARGEST_CORRELATION = 0.98
CORRELATIONS = np.linspace(0, LARGEST_CORRELATION, 50)
FEWEST_LAYERS = 8  # fewest layers for which the coverage was simulated


@dataclass(frozen=True)
class Slope:
    """A slope, its interval, and the slope and standard error at each correlation.

    value: the least-squares slope (ρ = 0).
    slopes, standard_errors: [correlations].
    """

    value: float
    slopes: Float
    standard_errors: Float
    degrees_of_freedom: float

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Return the union over ρ of the intervals; NaN with fewer than three points."""
        half_widths = critical_value(self.degrees_of_freedom, level) * self.standard_errors
        return float(np.min(self.slopes - half_widths)), float(np.max(self.slopes + half_widths))


def slope(x: Float, y: Float, layers: Float | None = None) -> Slope:
    """Fit y [points] against x [points] with an intercept, for every correlation.

    layers: each point's layer, [points]; consecutive layers by default. With fewer than three points, or if x does not
    vary, the standard errors are NaN.
    """
    n = len(x)
    at = np.arange(n, dtype=np.float64) if layers is None else np.asarray(layers, dtype=np.float64)
    design = np.stack([np.ones(n), x], axis=1)
    if n < 3 or np.ptp(x) == 0:
        unknown = np.full(len(CORRELATIONS), np.nan)
        return Slope(float("nan"), unknown, unknown, 0)
    correlation = CORRELATIONS[:, None, None] ** np.abs(at[:, None] - at)
    weighted = np.linalg.solve(correlation, np.broadcast_to(design, (len(CORRELATIONS), n, 2)))
    information = np.swapaxes(weighted, 1, 2) @ design
    coefficients = np.linalg.solve(information, (np.swapaxes(weighted, 1, 2) @ y)[..., None])[..., 0]
    residuals = y - coefficients @ design.T
    whitened = np.linalg.solve(correlation, residuals[..., None])[..., 0]
    variance = (residuals * whitened).sum(axis=1) / (n - 2)
    errors = np.sqrt(variance * np.linalg.inv(information)[:, 1, 1])
    return Slope(float(coefficients[0, 1]), coefficients[:, 1], errors, n - 2)
