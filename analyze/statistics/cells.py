"""Decisions over several cells at once, such as the layers of a model, each with a p-value or an interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analyze.statistics.jackknife import Float

EQUIVALENCE_LEVEL = 0.90  # two one-sided tests at 5 % each


def holm(p: Float) -> Float:
    """Return p-values adjusted by Holm (1979), [cells], in the order given.

    The chance that a true null hypothesis gets an adjusted p-value below 0.05 is at most 5 % over all cells together.
    NaN values are left out.
    """
    adjusted = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known])]
    steps = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps * p[order]), 1.0)
    return adjusted


def all_equivalent(low: Float, high: Float, margin: float) -> bool:
    """Return whether there is no difference in any cell: every interval lies within ±margin.

    low, high: bounds of the intervals at EQUIVALENCE_LEVEL, [cells]. The test is an intersection–union test (Berger,
    1982): it needs no correction for the number of cells. It is False without cells, or if a bound is NaN.
    """
    return len(low) > 0 and bool(np.all((low > -margin) & (high < margin)))


def partial_conjunction(p: Float, at_least: int) -> float:
    """Return the p-value of the claim that the alternative is true in at least `at_least` layers.

    It is Benjamini and Heller's (2008), with Simes' combination: min over i ≥ r of (L − r + 1) / (i − r + 1) · p₍ᵢ₎.

    p: each layer's p-value, [layers]; the largest over the places if the layer has several. NaN counts as 1.
    """
    ordered = np.sort(np.nan_to_num(p, nan=1.0))
    if not 1 <= at_least <= len(ordered):
        return 1.0
    remaining = len(ordered) - at_least + 1
    return float(min(1.0, np.min(remaining / np.arange(1, remaining + 1) * ordered[at_least - 1 :])))


def most(layers: int) -> int:
    """Return the smallest count of layers that is more than half of them."""
    return layers // 2 + 1


def signs(value: Float, adjusted_p: Float, significance: float = 0.05) -> NDArray[np.int64]:
    """Return +1 or −1 for each cell whose difference is significant, by its sign, and 0 for the others."""
    return np.where(adjusted_p <= significance, np.sign(value), 0).astype(np.int64)
