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
from numpy.typing import NDArray

Float = NDArray[np.float64]

_scratch = threading.local()

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


class Accumulator:
    """Sums up the statistics of rows [·, d] that come in parts.

    Adding a part takes few NumPy calls, because concurrent threads wait for the interpreter lock between calls.
    """

    def __init__(self, d: int) -> None:
        self._without_first, self._first = _Sums(d), _Sums(d)

    def add(self, x: NDArray[Any], first: NDArray[np.bool_]) -> None:
        """Add the rows x, finite float16 or float32 [n, d]; `first`, bool [n], marks those at position 0."""
        wide = _wide(x)
        first_rows = wide[first]
        wide[first] = 0  # zeros add nothing to the sums over the other rows
        self._without_first.add(wide, ~first)
        if len(first_rows):
            self._first.add(first_rows, np.ones(len(first_rows), dtype=bool))

    def stats(self) -> NormStats:
        """Return the statistics of all rows added so far."""
        rest, first = self._without_first.total(), self._first.total()
        whole = merge([_both(rest), _both(first)], rest[0].shape[-1])
        return NormStats(
            np.stack([whole.moments[0], rest[0]]),
            np.stack([whole.norms[0], rest[1]]),
            np.stack([whole.histogram[0], rest[2]]),
        )


Total = tuple[Float, Float, NDArray[np.int64]]


def _both(total: Total) -> NormStats:
    """Return statistics with the same sums for both subsets."""
    moments, norms, histogram = total
    return NormStats(np.stack([moments, moments]), np.stack([norms, norms]), np.stack([histogram, histogram]))


class _Sums:
    """The sums of one subset, kept per part and summed at the end."""

    def __init__(self, d: int) -> None:
        self._moments: tuple[list[Float], list[Float]] = ([np.zeros(d)], [np.zeros(d)])
        self._squares: list[Float] = []  # ‖x‖₂² of each row
        self._largest = 0.0

    def add(self, wide: Float, counted: NDArray[np.bool_]) -> None:
        """Add the rows of wide [n, d] that are `counted`, bool [n]; the others must be 0. Overwrites `wide`."""
        self._moments[0].append(wide.sum(axis=0))
        self._squares.append(np.vecdot(wide, wide)[counted])
        np.square(wide, out=wide)
        self._moments[1].append(wide.sum(axis=0))
        self._largest = max(
            self._largest, math.sqrt(wide.max(initial=0.0))
        )  # exact, because float64 holds the squares of float32

    def total(self) -> Total:
        """Return moments [2, d], norms [4] and histogram [N_BINS]."""
        squares = np.concatenate([np.zeros(0), *self._squares])
        norms = np.sqrt(squares)
        histogram = np.bincount(np.searchsorted(bin_edges(), norms, side="right"), minlength=N_BINS)
        moments = np.stack([np.sum(parts, axis=0) for parts in self._moments])
        return moments, np.array([len(norms), norms.sum(), squares.sum(), self._largest]), histogram


def _wide(x: NDArray[Any]) -> Float:
    """Return x in float64, in memory that the thread reuses; concurrent allocation would serialise threads."""
    if x.dtype == np.float16:
        x = _float32(x, _memory("narrow", x.shape, np.float32))
    wide = _memory("wide", x.shape, np.float64)
    np.copyto(wide, x)
    return wide


def _float32(x: NDArray[np.float16], out: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert finite float16 to float32 exactly, by its bits; NumPy converts one by one, four times as slowly.

    Exponent and mantissa are shifted by the 13 additional bits of float32's mantissa. The result is 2⁻¹¹² times the
    value, because the biases of the exponents are 127 and 15. The mask clears the copies of the sign bit.
    """
    bits = out.view(np.int32)
    np.copyto(bits, x.view(np.int16))
    bits <<= 13
    bits &= ~(0b111 << 28)
    out *= np.float32(2.0**112)
    return out


def _memory(name: str, shape: tuple[int, ...], dtype: type[np.floating[Any]]) -> NDArray[Any]:
    """Return an uninitialised array that the calling thread reuses for this name."""
    size = math.prod(shape)
    memory: NDArray[Any] | None = getattr(_scratch, name, None)
    if memory is None or memory.size < size:
        memory = np.empty(size, dtype)
        setattr(_scratch, name, memory)
    return memory[:size].reshape(shape)


def merge(parts: Iterable[NormStats], d: int) -> NormStats:
    """Return the statistics of the union of the parts' rows; `d` is the width, needed if there are no parts."""
    total = empty(d)
    for part in parts:
        total.moments[...] += part.moments
        total.norms[:, :LARGEST] += part.norms[:, :LARGEST]
        total.norms[:, LARGEST] = np.maximum(total.norms[:, LARGEST], part.norms[:, LARGEST])
        total.histogram[...] += part.histogram
    return total
