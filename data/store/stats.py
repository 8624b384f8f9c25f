"""Statistics of activation rows, which merge by addition: shards can be written and read in any order.

They are kept for two subsets: all rows, and the rows that are not at position 0 of their context, where norms are often
outliers. Sums are taken in float64 over the stored values.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Float = NDArray[np.float64]

_scratch = threading.local()

BLOCK_ENTRIES = 256 << 10  # smaller: the interpreter takes as long as the sums; larger: float64 leaves the CPU caches

PYTORCH_ENTRIES = 32 << 10  # PyTorch would convert more at once with several threads, which other stages need

COUNT, NORM_SUM, NORM_SQUARE_SUM, LARGEST = range(4)

BINS_PER_OCTAVE = 8
LOWEST_OCTAVE, HIGHEST_OCTAVE = -16, 20
N_BINS = (HIGHEST_OCTAVE - LOWEST_OCTAVE) * BINS_PER_OCTAVE + 2  # one below, one at or above the range


class Subset(StrEnum):
    """The rows that a statistic or measure covers: all, or those not at position 0 of their context."""

    ALL = "all"
    WITHOUT_FIRST = "without 0"

    @property
    def axis_index(self) -> int:
        """Index of the subset on axis 0 of the arrays of `NormStats` (axis 1 in the store)."""
        return 0 if self is Subset.ALL else 1


@cache
def bin_edges() -> Float:
    """Return the upper edges of all bins except the last: float64 [N_BINS − 1], read-only.

    Bin 0 counts norms below the first edge.
    """
    edges = 2.0 ** np.linspace(LOWEST_OCTAVE, HIGHEST_OCTAVE, N_BINS - 1)
    edges.flags.writeable = False
    return edges


@dataclass(frozen=True)
class NormStats:
    """Sums over rows x [n, d]. Axis 0 of each array is the `Subset`.

    moments: float64 [2, 2, d], Σx and Σx² of each channel. norms: float64 [2, 4], the number of rows, Σ‖x‖₂, Σ‖x‖₂²,
    and the largest |entry|. histogram: int64 [2, N_BINS], the number of rows by ‖x‖₂, with edges `bin_edges()`.
    """

    moments: Float
    norms: Float
    histogram: NDArray[np.int64]

    def count(self, subset: Subset = Subset.ALL) -> int:
        """Number of rows."""
        return int(self.norms[subset.axis_index, COUNT])

    def mean_norm(self, subset: Subset = Subset.ALL) -> float:
        """Mean of ‖x‖₂, as in the post's Figs. 3, 4 and 7; NaN without rows."""
        n, norm_sum = self.norms[subset.axis_index, [COUNT, NORM_SUM]]
        return float(norm_sum / n) if n else float("nan")

    def mean_square(self, subset: Subset = Subset.ALL) -> float:
        """Mean of ‖x‖₂²; NaN without rows."""
        n, square_sum = self.norms[subset.axis_index, [COUNT, NORM_SQUARE_SUM]]
        return float(square_sum / n) if n else float("nan")

    def norm_variance(self, subset: Subset = Subset.ALL) -> float:
        """Population variance of ‖x‖₂; NaN without rows."""
        n, square_sum = self.norms[subset.axis_index, [COUNT, NORM_SQUARE_SUM]]
        return float(max(square_sum / n - self.mean_norm(subset) ** 2, 0.0)) if n else float("nan")

    def mean(self, subset: Subset = Subset.ALL) -> Float:
        """Mean row: float64 [d]."""
        return np.asarray(self.moments[subset.axis_index, 0] / self.count(subset))

    def variance(self, subset: Subset = Subset.ALL) -> Float:
        """Population variance of each channel: float64 [d]."""
        mean_square = self.moments[subset.axis_index, 1] / self.count(subset)
        return np.maximum(mean_square - self.mean(subset) ** 2, 0.0)

    def largest(self, subset: Subset = Subset.ALL) -> float:
        """Largest |entry|; 0 without rows."""
        return float(self.norms[subset.axis_index, LARGEST])


def empty(d: int) -> NormStats:
    """Return the statistics of no rows."""
    return NormStats(np.zeros((2, 2, d)), np.zeros((2, 4)), np.zeros((2, N_BINS), dtype=np.int64))


@dataclass(frozen=True)
class RunningSums:
    """The sums of one shard's rows, added part by part in the order of the shard.

    moments float64 [2, 2, d], norms float64 [2, 4], histogram int64 [2, N_BINS]: as in NormStats, but axis 0 has the
    rows that are not at position 0, and those that are. They are updated in place, so that they may be parts of larger
    arrays.

    Every sum adds one row after the other, so it is the same bit for bit whatever the parts are.
    """

    moments: Float
    norms: Float
    histogram: NDArray[np.int64]

    @classmethod
    def zeros(cls, d: int) -> RunningSums:
        """Return the sums of no rows."""
        none = empty(d)
        return cls(none.moments, none.norms, none.histogram)

    def add(self, x: NDArray[Any], first: NDArray[np.bool_]) -> None:
        """Add the rows x, finite float16 or float32 [n, d]; `first`, bool [n], marks those at position 0."""
        squares = np.empty(len(x))
        step = max(1, BLOCK_ENTRIES // x.shape[1])
        for begin in range(0, len(x), step):
            block = slice(begin, begin + step)
            self._add_block(x[block], first[block], squares[block])
        self._add_norms(0, squares[~first])
        if first.any():
            self._add_norms(1, squares[first])

    def _add_block(self, x: NDArray[Any], first: NDArray[np.bool_], squares: Float) -> None:
        """Add Σx, Σx² and the largest |entry| of rows x [n, d], and write ‖x‖₂² into `squares` [n]."""
        # A row before the others holds the sum so far. A second column keeps NumPy from summing pairwise if d is 1.
        n, d = x.shape
        whole = _memory("whole", n + 1, max(d, 2), np.float64)
        whole[:, d:] = 0
        rows = whole[1:, :d]
        _widen(x, rows)
        np.vecdot(rows, rows, out=squares)
        at_first = np.flatnonzero(first)
        if len(at_first):
            apart = np.zeros((1 + len(at_first), whole.shape[1]))
            apart[1:] = whole[1 + at_first]
            self._add_moments(1, apart)
            rows[at_first] = 0  # zeros add nothing to the sums over the other rows
        self._add_moments(0, whole)

    def _add_moments(self, axis_index: int, whole: Float) -> None:
        """Add rows to the moments at an index of axis 0; their first row is replaced, and all are squared."""
        d, (total, square_total), norms = self.moments.shape[-1], self.moments[axis_index], self.norms[axis_index]
        whole[0, :d] = total
        total[...] = whole.sum(axis=0)[:d]
        rows = whole[1:]
        np.square(rows, out=rows)
        whole[0, :d] = square_total
        square_total[...] = whole.sum(axis=0)[:d]
        largest = math.sqrt(rows.max(initial=0.0))  # exact, because float64 holds the squares of float32
        norms[LARGEST] = max(norms[LARGEST], largest)

    def _add_norms(self, axis_index: int, squares: Float) -> None:
        """Add rows with these ‖x‖₂², float64 [n], to what is kept of the norms at an index of axis 0."""
        sums, norms = self.norms[axis_index], np.sqrt(squares)
        sums[COUNT] += len(norms)
        both = np.empty((1 + len(norms), 2))  # summed row by row, as the moments are
        both[0], both[1:, 0], both[1:, 1] = sums[NORM_SUM : NORM_SQUARE_SUM + 1], norms, squares
        sums[NORM_SUM : NORM_SQUARE_SUM + 1] = both.sum(axis=0)
        bins = np.searchsorted(bin_edges(), norms, side="right")
        self.histogram[axis_index] += np.bincount(bins, minlength=N_BINS)

    def stats(self) -> NormStats:
        """Return the statistics of all rows added so far."""
        rest, first = (
            NormStats(*(np.stack([part[i], part[i]]) for part in (self.moments, self.norms, self.histogram)))
            for i in range(2)
        )
        whole = merge([rest, first], self.moments.shape[-1])
        return NormStats(
            np.stack([whole.moments[0], rest.moments[0]]),
            np.stack([whole.norms[0], rest.norms[0]]),
            np.stack([whole.histogram[0], rest.histogram[0]]),
        )


def _widen(x: NDArray[Any], out: Float) -> None:
    """Write x, float16 or float32 [n, d], into `out`.

    NumPy takes twice as long for float16 as PyTorch to float32 and NumPy from there, both of which are exact.
    """
    if x.dtype != np.float16:
        np.copyto(out, x)
        return
    if not x.flags.writeable:
        x = x.copy()  # PyTorch warns of memory that it may not write
    step = max(1, PYTORCH_ENTRIES // x.shape[1])
    narrow = _memory("narrow", min(step, len(x)), x.shape[1], np.float32)
    source, target = torch.from_numpy(x), torch.from_numpy(narrow)
    for begin in range(0, len(x), step):
        n = min(step, len(x) - begin)
        target[:n].copy_(source[begin : begin + n])
        np.copyto(out[begin : begin + n], narrow[:n])


def _memory(name: str, n: int, d: int, dtype: type[Any]) -> NDArray[Any]:
    """Return uninitialised memory [n, d] that the calling thread reuses under this name, always with one dtype.

    The kernel would fill new memory of this size with zeros each time.
    """
    memory: NDArray[Any] | None = getattr(_scratch, name, None)
    if memory is None or memory.size < n * d:
        memory = np.empty(n * d, dtype)
        setattr(_scratch, name, memory)
    return memory[: n * d].reshape(n, d)


def merge(parts: Iterable[NormStats], d: int) -> NormStats:
    """Return the statistics of the union of the parts' rows; `d` is the width, needed if there are no parts."""
    total = empty(d)
    for part in parts:
        total.moments[...] += part.moments
        total.norms[:, :LARGEST] += part.norms[:, :LARGEST]
        total.norms[:, LARGEST] = np.maximum(total.norms[:, LARGEST], part.norms[:, LARGEST])
        total.histogram[...] += part.histogram
    return total
