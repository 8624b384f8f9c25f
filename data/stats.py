"""Statistics of activation rows that merge by addition, so that shards, workers and resumed runs need no order.

Kept twice: over all rows, and over the rows that are not at position 0 of their context (whose norm is often an
outlier). Sums are taken in float64 over the stored values.

Not here: where they are kept (schema.py), which rows they cover (reader.py merges a split's shards).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

_scratch = threading.local()

ALL, WITHOUT_FIRST = 0, 1  # index of the subset, on axis −(1 + rank) of every array below
COUNT, NORM_SUM, NORM_SQUARE_SUM, LARGEST = range(4)

BINS_PER_OCTAVE = 8
LOWEST_OCTAVE, HIGHEST_OCTAVE = -16, 20
N_BINS = (HIGHEST_OCTAVE - LOWEST_OCTAVE) * BINS_PER_OCTAVE + 2  # one below, one at or above the range


def bin_edges() -> Float:
    """Upper edges of all bins but the last: float64 [N_BINS − 1]; bin 0 holds norms under the first edge."""
    return 2.0 ** np.linspace(LOWEST_OCTAVE, HIGHEST_OCTAVE, N_BINS - 1)


@dataclass(frozen=True)
class NormStats:
    """Sums over rows x [n, d]; axis 0 is the subset (ALL, WITHOUT_FIRST).

    moments: float64 [2, 2, d], Σx and Σx² of each channel. norms: float64 [2, 4], the number of rows, Σ‖x‖₂, Σ‖x‖₂²,
    and the largest |entry|. histogram: int64 [2, N_BINS] of ‖x‖₂ over `bin_edges()`.
    """

    moments: Float
    norms: Float
    histogram: NDArray[np.int64]

    def count(self, subset: int = ALL) -> int:
        return int(self.norms[subset, COUNT])

    def mean_norm(self, subset: int = ALL) -> float:
        """Mean of ‖x‖₂, as in the post's Figs. 3, 4 and 7. NaN without rows."""
        return float(self.norms[subset, NORM_SUM] / self.norms[subset, COUNT]) if self.count(subset) else float("nan")

    def norm_variance(self, subset: int = ALL) -> float:
        """Population variance of ‖x‖₂."""
        if not self.count(subset):
            return float("nan")
        mean_square = self.norms[subset, NORM_SQUARE_SUM] / self.norms[subset, COUNT]
        return float(max(mean_square - self.mean_norm(subset) ** 2, 0.0))

    def mean(self, subset: int = ALL) -> Float:
        """Mean row: float64 [d]."""
        return np.asarray(self.moments[subset, 0] / self.norms[subset, COUNT])

    def variance(self, subset: int = ALL) -> Float:
        """Population variance of each channel: float64 [d]."""
        mean_square = self.moments[subset, 1] / self.norms[subset, COUNT]
        return np.maximum(mean_square - self.mean(subset) ** 2, 0.0)

    def largest(self, subset: int = ALL) -> float:
        return float(self.norms[subset, LARGEST])


def empty(d: int) -> NormStats:
    return NormStats(np.zeros((2, 2, d)), np.zeros((2, 4)), np.zeros((2, N_BINS), dtype=np.int64))


def measure(x: NDArray[Any], first: NDArray[np.bool_]) -> NormStats:
    """Statistics of the rows x, float16 or float32 [n, d]; `first` bool [n] marks those at position 0."""
    wide = _wide(x)
    if not first.any():
        return _both(_sums(wide, ~first))
    start = _sums(wide[first], np.ones(int(first.sum()), dtype=bool))
    wide[first] = 0  # adds nothing to what is summed over the rest
    rest = _sums(wide, ~first)
    both = merge([_both(rest), _both(start)], x.shape[1])
    return NormStats(
        np.stack([both.moments[ALL], rest[0]]),
        np.stack([both.norms[ALL], rest[1]]),
        np.stack([both.histogram[ALL], rest[2]]),
    )


Sums = tuple[Float, Float, NDArray[np.int64]]


def _both(sums: Sums) -> NormStats:
    moments, norms, histogram = sums
    return NormStats(np.stack([moments, moments]), np.stack([norms, norms]), np.stack([histogram, histogram]))


def _wide(x: NDArray[Any]) -> Float:
    """x in float64, in memory of the thread's own: threads would wait for one another to get fresh pages."""
    memory = getattr(_scratch, "memory", None)
    if memory is None or memory.size < x.size:
        memory = _scratch.memory = np.empty(x.size)
    wide: Float = memory[: x.size].reshape(x.shape)
    np.copyto(wide, x)
    return wide


def _sums(wide: Float, counted: NDArray[np.bool_]) -> Sums:
    """One subset's (moments, norms, histogram), of the rows counted; the others are 0. `wide` is overwritten."""
    largest = max(float(wide.max(initial=0.0)), -float(wide.min(initial=0.0)))
    total = wide.sum(axis=0)
    np.square(wide, out=wide)
    moments, squares = np.stack([total, wide.sum(axis=0)]), wide.sum(axis=1)[counted]
    norms = np.sqrt(squares)
    histogram = np.bincount(np.searchsorted(bin_edges(), norms, side="right"), minlength=N_BINS)
    return moments, np.array([len(norms), norms.sum(), squares.sum(), largest]), histogram


def merge(parts: Iterable[NormStats], d: int) -> NormStats:
    """Statistics of the union of the parts' rows; `d` serves where there are none."""
    total = empty(d)
    for part in parts:
        total.moments[...] += part.moments
        total.norms[:, :LARGEST] += part.norms[:, :LARGEST]
        total.norms[:, LARGEST] = np.maximum(total.norms[:, LARGEST], part.norms[:, LARGEST])
        total.histogram[...] += part.histogram
    return total
