"""Statistics of activation rows that merge by addition, so that shards, workers and resumed runs need no order.

Kept twice: over all rows, and over the rows that are not at position 0 of their context (whose norm is often an
outlier). Sums are taken in float64 over the stored values.

Not here: where they are kept (schema.py), which rows they cover (reader.py merges a split's shards).
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
    """Upper edges of all bins but the last: float64 [N_BINS − 1], read-only; bin 0 holds norms under the first edge."""
    edges = 2.0 ** np.linspace(LOWEST_OCTAVE, HIGHEST_OCTAVE, N_BINS - 1)
    edges.flags.writeable = False
    return edges


@dataclass(frozen=True)
class NormStats:
    """Sums over rows x [n, d]; axis 0 is the `Subset`.

    moments: float64 [2, 2, d], Σx and Σx² of each channel. norms: float64 [2, 4], the number of rows, Σ‖x‖₂, Σ‖x‖₂²,
    and the largest |entry|. histogram: int64 [2, N_BINS] of ‖x‖₂ over `bin_edges()`.
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
    return NormStats(np.zeros((2, 2, d)), np.zeros((2, 4)), np.zeros((2, N_BINS), dtype=np.int64))


class Accumulator:
    """Statistics of rows [·, d] that come in parts.

    A part costs few calls: threads that tally side by side wait for the interpreter between any two.
    """

    def __init__(self, d: int) -> None:
        self._rest, self._start = _Sums(d), _Sums(d)

    def add(self, x: NDArray[Any], first: NDArray[np.bool_]) -> None:
        """Count the rows x, finite float16 or float32 [n, d]; `first` bool [n] marks those at position 0."""
        wide = _wide(x)
        start = wide[first]
        wide[first] = 0  # adds nothing to what is summed over the rest
        self._rest.add(wide, ~first)
        if len(start):
            self._start.add(start, np.ones(len(start), dtype=bool))

    def stats(self) -> NormStats:
        rest, start = self._rest.total(), self._start.total()
        whole = merge([_both(rest), _both(start)], rest[0].shape[-1])
        return NormStats(
            np.stack([whole.moments[0], rest[0]]),
            np.stack([whole.norms[0], rest[1]]),
            np.stack([whole.histogram[0], rest[2]]),
        )


Total = tuple[Float, Float, NDArray[np.int64]]


def _both(total: Total) -> NormStats:
    moments, norms, histogram = total
    return NormStats(np.stack([moments, moments]), np.stack([norms, norms]), np.stack([histogram, histogram]))


class _Sums:
    """One subset's, part by part; they are put together at the end."""

    def __init__(self, d: int) -> None:
        self._moments: tuple[list[Float], list[Float]] = ([np.zeros(d)], [np.zeros(d)])
        self._squares: list[Float] = []  # of the norms, one a row
        self._largest = 0.0

    def add(self, wide: Float, counted: NDArray[np.bool_]) -> None:
        """Add the rows of wide [n, d] that are `counted` [n]; the others must be 0. All are overwritten."""
        self._moments[0].append(wide.sum(axis=0))
        self._squares.append(np.vecdot(wide, wide)[counted])
        np.square(wide, out=wide)
        self._moments[1].append(wide.sum(axis=0))
        self._largest = max(self._largest, math.sqrt(wide.max(initial=0.0)))  # exact: float64 holds float32's squares

    def total(self) -> Total:
        """(moments [2, d], norms [4], histogram [N_BINS])."""
        squares = np.concatenate([np.zeros(0), *self._squares])
        norms = np.sqrt(squares)
        histogram = np.bincount(np.searchsorted(bin_edges(), norms, side="right"), minlength=N_BINS)
        moments = np.stack([np.sum(parts, axis=0) for parts in self._moments])
        return moments, np.array([len(norms), norms.sum(), squares.sum(), self._largest]), histogram


def _wide(x: NDArray[Any]) -> Float:
    """x in float64, in memory of the thread's own: threads would wait for one another to get fresh pages."""
    if x.dtype == np.float16:
        x = _float32(x, _memory("narrow", x.shape, np.float32))
    wide = _memory("wide", x.shape, np.float64)
    np.copyto(wide, x)
    return wide


def _float32(x: NDArray[np.float16], out: NDArray[np.float32]) -> NDArray[np.float32]:
    """Finite float16 as float32, exactly, by its bits: NumPy converts one number at a time, at a quarter of the speed.

    Exponent and mantissa move up by the 13 bits that float32's mantissa has more, which reads as 2⁻¹¹² times the value
    (the exponents' biases are 127 and 15); the mask clears the sign's copies.
    """
    bits = out.view(np.int32)
    np.copyto(bits, x.view(np.int16))
    bits <<= 13
    bits &= ~(0b111 << 28)
    out *= np.float32(2.0**112)
    return out


def _memory(name: str, shape: tuple[int, ...], dtype: type[np.floating[Any]]) -> NDArray[Any]:
    """An array of the thread's own, of any contents."""
    size = math.prod(shape)
    memory: NDArray[Any] | None = getattr(_scratch, name, None)
    if memory is None or memory.size < size:
        memory = np.empty(size, dtype)
        setattr(_scratch, name, memory)
    return memory[:size].reshape(shape)


def merge(parts: Iterable[NormStats], d: int) -> NormStats:
    """Statistics of the union of the parts' rows; `d` serves where there are none."""
    total = empty(d)
    for part in parts:
        total.moments[...] += part.moments
        total.norms[:, :LARGEST] += part.norms[:, :LARGEST]
        total.norms[:, LARGEST] = np.maximum(total.norms[:, LARGEST], part.norms[:, LARGEST])
        total.histogram[...] += part.histogram
    return total
