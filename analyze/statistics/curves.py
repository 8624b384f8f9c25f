"""A measure at a given L0, interpolated between runs of other L0.

A curve is a monotone cubic (PCHIP, Fritsch and Carlson, 1980) in log L0. A measure that tends to 0 is interpolated as
its logarithm, one that tends to 1 as the logarithm of its distance from 1: these are closest to straight lines. A curve
is neither extrapolated nor clamped.

SciPy's PCHIP takes one set of abscissae for all curves, but each replicate has its own L0, so this file computes the
cubic itself.
"""

from __future__ import annotations

from enum import Enum

import numpy as np

from analyze.statistics.jackknife import Float

FEWEST_POINTS = 3
WIDEST_BRACKET = 2.0  # largest ratio of the L0 of the two points around an interpolated one
SAME_L0 = 0.02  # values of L0 at most this far apart, as a share, are compared without a curve
NEAR_L0 = 0.1  # from a run at most this far from an L0, as a share, a straight line leads there


class Scale(Enum):
    """The function of a measure that is interpolated."""

    LINEAR = "y"
    LOG = "log y"
    LOG_OF_REST = "log (1 − y)"

    def forward(self, y: Float) -> Float:
        """Return the function of y; NaN where it is undefined."""
        if self is Scale.LINEAR:
            return y
        positive = y if self is Scale.LOG else 1 - y
        return np.log(positive, out=np.full_like(positive, np.nan), where=positive > 0)

    def backward(self, z: Float) -> Float:
        """Return the measure from its function."""
        if self is Scale.LINEAR:
            return z
        return np.exp(z) if self is Scale.LOG else -np.expm1(z)


def same_l0(l0: float, at: float) -> bool:
    """Return whether a run of this L0 counts as one at the L0 `at`."""
    return abs(l0 / at - 1) <= SAME_L0


def near_l0(l0: float, at: float) -> bool:
    """Return whether a straight line from a run of this L0 to another run of its curve may be read at the L0 `at`."""
    return abs(l0 / at - 1) <= NEAR_L0


def why_refused(l0: Float, at: float) -> str | None:
    """Return why a curve has no value at the L0 `at`, or None if it has one. l0: [points], ascending."""
    if len(l0) < FEWEST_POINTS:
        return f"a curve needs {FEWEST_POINTS} runs of different L0, not {len(l0)}"
    if not l0[0] <= at <= l0[-1]:
        return f"curves are not extrapolated beyond L0 {l0[0]:.3g} and {l0[-1]:.3g}"
    left = bracket(l0, at)
    if l0[left + 1] / l0[left] > WIDEST_BRACKET:
        return f"those around it, {l0[left]:.3g} and {l0[left + 1]:.3g}, are more than a factor of 2 apart"
    return None


def bracket(l0: Float, at: float) -> int:
    """Return the index of the point to the left of `at`, at most the last but one. l0: [points], ascending."""
    return int(np.clip(np.searchsorted(l0, at, side="right") - 1, 0, len(l0) - 2))


def interpolate(l0: Float, y: Float, at: float, scale: Scale, left: int) -> Float:
    """Return the measure at the L0 `at`, [...], between the points `left` and `left` + 1 of each curve.

    All replicates of a curve use the bracket of its value, and so are smooth functions of the data, also where `at` is
    just outside a replicate's bracket. The result is NaN where L0 does not ascend or the measure has no logarithm.

    l0, y: points of the curves, [..., points], at least two.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        x, z = np.log(l0), scale.forward(y)
        steps = np.diff(x, axis=-1)
        secants = np.where(steps > 0, np.diff(z, axis=-1) / steps, np.nan)
        slopes = _slopes(steps, secants)
        width = steps[..., left]
        t = (np.log(at) - x[..., left]) / width
    cubic = (
        (1 + 2 * t) * (1 - t) ** 2 * z[..., left]
        + t * (1 - t) ** 2 * width * slopes[..., left]
        + t**2 * (3 - 2 * t) * z[..., left + 1]
        + t**2 * (t - 1) * width * slopes[..., left + 1]
    )
    return scale.backward(cubic)


def _slopes(steps: Float, secants: Float) -> Float:
    """Return the derivative at each point [..., points], from the widths and secants [..., points − 1]."""
    if secants.shape[-1] == 1:
        return np.repeat(secants, 2, axis=-1)
    before, after = secants[..., :-1], secants[..., 1:]
    first, second = 2 * steps[..., 1:] + steps[..., :-1], steps[..., 1:] + 2 * steps[..., :-1]
    harmonic = (first + second) / (first / before + second / after)
    inner = np.where(before * after <= 0, 0.0, harmonic)
    inner = np.where(np.isnan(before + after), np.nan, inner)
    begin = _end_slope(steps[..., 0], steps[..., 1], secants[..., 0], secants[..., 1])
    end = _end_slope(steps[..., -1], steps[..., -2], secants[..., -1], secants[..., -2])
    return np.concatenate([begin[..., None], inner, end[..., None]], axis=-1)


def _end_slope(step: Float, next_step: Float, secant: Float, next_secant: Float) -> Float:
    """Return the three-point derivative at an end, limited so that the curve stays monotone."""
    slope = ((2 * step + next_step) * secant - step * next_secant) / (step + next_step)
    limited = np.where((secant * next_secant < 0) & (np.abs(slope) > 3 * np.abs(secant)), 3 * secant, slope)
    return np.where(slope * secant <= 0, 0.0, limited) + 0 * slope


def _linear(l0: Float, y: Float, at: float, scale: Scale, left: int) -> Float:
    """Return the measure at `at` on the straight line between the points around it."""
    pair = slice(left, left + 2)
    return along_line(l0[..., pair], y[..., pair], at, scale)


def along_line(l0: Float, y: Float, at: float, scale: Scale) -> Float:
    """Return the measure at the L0 `at` on the straight line through two points, [..., 2], ascending in L0."""
    return interpolate(l0, y, at, scale, 0)


def interpolation_error(l0: Float, y: Float, at: float, scale: Scale) -> float:
    """Return the interpolation's own error, to be added to a half-width: ½ |PCHIP − linear|. l0, y: [points]."""
    left = bracket(l0, at)
    return float(abs(interpolate(l0, y, at, scale, left) - _linear(l0, y, at, scale, left))) / 2


def leave_one_out_error(l0: Float, y: Float, scale: Scale, at: float) -> float:
    """Return the larger error at the points around `at`, each interpolated from the others. l0, y: [points], ≥ 3.

    A point at an end of the curve has no error.
    """
    left, errors = bracket(l0, at), []
    for point in (left, left + 1):
        if 0 < point < len(l0) - 1:
            others = np.delete(l0, point)
            predicted = interpolate(others, np.delete(y, point), l0[point], scale, bracket(others, l0[point]))
            errors.append(abs(float(predicted) - float(y[point])))
    return max(errors)
