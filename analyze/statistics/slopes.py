"""Straight lines and other linear fits through the layers of a model, whose residuals are alike in neighbours.

Layers are neighbours rather than a sample, so intervals that resample them are far too narrow. The correlation of
residuals ρ^|i − j| is unknown, and a dozen layers cannot tell it. The interval is therefore the union of the intervals
of generalised least squares over every ρ from 0 to LARGEST_CORRELATION.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

from analyze.statistics.jackknife import LEVEL, Float, critical_value

LARGEST_CORRELATION = 0.98
CORRELATIONS = np.linspace(0, LARGEST_CORRELATION, 50)
FEWEST_LAYERS = 8  # fewest layers for which the coverage was simulated


@dataclass(frozen=True)
class LayerFit:
    """A number from a fit over layers, such as a slope: its value and standard error at each correlation.

    value: that of least squares (ρ = 0).
    values, standard_errors: [correlations]; NaN with no more points than coefficients.
    """

    value: float
    values: Float
    standard_errors: Float
    degrees_of_freedom: float

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Return the union over ρ of the intervals; NaN if they are unknown."""
        half_widths = critical_value(self.degrees_of_freedom, level) * self.standard_errors
        return float(np.min(self.values - half_widths)), float(np.max(self.values + half_widths))

    def p_above(self, margin: float) -> float:
        """Return the one-sided p-value of a number above the margin: the largest over ρ; NaN if it is unknown."""
        return self._largest_p(self.values - margin)

    def p_below(self, margin: float) -> float:
        """Return the one-sided p-value of a number below the margin, as `p_above` does."""
        return self._largest_p(margin - self.values)

    def _largest_p(self, distances: Float) -> float:
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.max(stdtr(self.degrees_of_freedom, -distances / self.standard_errors)))


def slope(x: Float, y: Float, layers: Float | None = None) -> LayerFit:
    """Fit y [points] against x [points] with an intercept; return the slope. Unknown if x does not vary.

    layers: each point's layer, [points]; consecutive layers by default.
    """
    return fit(np.stack([np.ones(len(x)), x], axis=1), np.array([0.0, 1.0]), y, layers)


def fit(design: Float, weights: Float, y: Float, layers: Float | None = None) -> LayerFit:
    """Fit y [points] by a design [points, coefficients]; return the coefficients' sum with weights [coefficients]."""
    n, n_coefficients = design.shape
    if n <= n_coefficients or np.linalg.matrix_rank(design) < n_coefficients:
        unknown = np.full(len(CORRELATIONS), np.nan)
        return LayerFit(float("nan"), unknown, unknown, 0)
    at = np.arange(n, dtype=np.float64) if layers is None else np.asarray(layers, dtype=np.float64)
    correlation = CORRELATIONS[:, None, None] ** np.abs(at[:, None] - at)
    weighted = np.linalg.solve(correlation, np.broadcast_to(design, (len(CORRELATIONS), *design.shape)))
    inverse = np.linalg.inv(np.swapaxes(weighted, 1, 2) @ design)
    coefficients = (inverse @ (np.swapaxes(weighted, 1, 2) @ y)[..., None])[..., 0]
    residuals = y - coefficients @ design.T
    whitened = np.linalg.solve(correlation, residuals[..., None])[..., 0]
    variance = (residuals * whitened).sum(axis=1) / (n - n_coefficients)
    errors = np.sqrt(variance * (weights @ inverse @ weights))
    values = coefficients @ weights
    return LayerFit(float(values[0]), values, errors, n - n_coefficients)
