"""The jackknife over groups of rows: documents, or contexts where documents are unknown.

Rows of one document are alike, so intervals must not treat them as independent. A measure is a function of sums over
rows. Computed again without each group in turn, it gives one value per group; their spread is the standard error
(Efron and Stein, 1981). Groups are of unequal size, so the degrees of freedom are those of Bell and McCaffrey (2002),
for a ratio of sums: f = tr(V)² / tr(V²), where V is the covariance of the values without each group if the groups'
means are independent and of equal variance.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Float = NDArray[np.float64]

LEVEL = 0.95


def without_each(sums: Float) -> Float:
    """Return the total without each group: float64 [groups, …], from the groups' sums [groups, …]."""
    return sums.sum(axis=0) - sums


def standard_error(values: Float) -> Float:
    """Return the jackknife's standard error, float64 [...], from values without each group [groups, …].

    It is NaN if a value is not finite, or with fewer than two groups.
    """
    n_groups = len(values)
    if n_groups < 2:
        return np.full(values.shape[1:], np.nan)
    deviations = values - values.mean(axis=0)
    return np.asarray(np.sqrt((n_groups - 1) / n_groups * np.square(deviations).sum(axis=0)))


def degrees_of_freedom(shares: Float) -> float:
    """Return Bell and McCaffrey's degrees of freedom; groups − 1 if the shares are equal.

    shares: each group's share of the rows, [groups], which add up to 1. With fewer than two groups that have rows, the
    result is 0.
    """
    h = shares[shares > 0]
    if len(h) < 2:
        return 0.0
    d = np.square(h / (1 - h))
    s, w, p, q = d.sum(), np.square(h).sum(), (h * d).sum(), np.square(d).sum()
    trace = s - 2 * p + s * w
    trace_of_square = (
        q + 2 * (d * (s * np.square(h) - 2 * h * d)).sum() + 2 * w * q + 2 * p**2 + (s * w) ** 2 - 4 * s * w * p
    )
    return float(trace**2 / trace_of_square)


def effective_groups(shares: Float) -> float:
    """Return 1/Σh²: how many groups of equal size would weigh as much as these. shares: [groups]."""
    return float(1 / np.square(shares).sum())


def critical_value(degrees: float, level: float = LEVEL) -> float:
    """Return Student's t at a two-sided level; infinite without degrees of freedom."""
    return float(stdtrit(degrees, (1 + level) / 2)) if degrees > 0 else math.inf
