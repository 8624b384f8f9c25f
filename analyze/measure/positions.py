"""Subsets of a context's positions on which measures are taken: all, without position 0, and bins of positions."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from data.store.stats import Subset

Number = TypeVar("Number", np.int64, np.float64)


def position_bins(n_positions: int) -> list[tuple[str, int, int]]:
    """Return bins of positions as (name, first, end): 0, 1, 2–3, 4–7, … up to the context's size."""
    edges = [0, 1]
    while edges[-1] < n_positions:
        edges.append(min(2 * edges[-1], n_positions))
    return [(str(a) if b == a + 1 else f"{a}–{b - 1}", a, b) for a, b in pairwise(edges)]


def subsets(by_bin: NDArray[Number], bins: list[tuple[str, int, int]], axis: int) -> Mapping[str, NDArray[Number]]:
    """Add up sums by bin, along `axis`, to sums by subset: all rows, those not at position 0, and each bin."""
    first = [i for i, (_, begin, _) in enumerate(bins) if begin == 0]
    whole = by_bin.sum(axis=axis)
    without_first = whole - by_bin.take(first, axis=axis).sum(axis=axis)
    by_subset = {Subset.ALL.value: whole, Subset.WITHOUT_FIRST.value: without_first}
    return by_subset | {name: by_bin.take(i, axis=axis) for i, (name, _, _) in enumerate(bins)}
