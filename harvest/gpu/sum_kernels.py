"""The sums of rows for their statistics, in Triton; data/store/stats.py defines them.

Rows come in ranges, one per shard. Sums over rows add one row after the other in float64, as on the host, so those of
x and x² are the host's bit for bit. ‖x‖² sums its channels in another order than the host does: it differs by rounding.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

COLUMNS = 128  # channels per program, in the sums over rows
ROW_COLUMNS = 512  # channels of a row at a time, in ‖x‖²


def add_moments_(moments: Tensor, x: Tensor, first: Tensor, begins: Tensor, slots: Tensor) -> None:
    """Add rows to the sums of x and x².

    moments: float64 [shards, 2, 2, d]. x: [n, d]. first: int8 [n], whether a row is at position 0. begins: int64
    [ranges + 1], where each range's rows begin. slots: int64 [ranges], each range's index among the shards.
    """
    d = x.shape[1]
    _add_moments[len(slots), triton.cdiv(d, COLUMNS)](moments, x, first, begins, slots, d, COLUMNS)


def measure_rows_(
    histogram: Tensor, squares: Tensor, largest: Tensor, x: Tensor, first: Tensor, row_slots: Tensor, edges: Tensor
) -> None:
    """Count rows by norm, and write ‖x‖² and the largest |entry| of each.

    histogram: int64 [shards, 2, bins]. squares, largest: float64 [n]. row_slots: int64 [n], each row's shard.
    edges: float64 [bins − 1], ascending.
    """
    n_bins = histogram.shape[-1]
    bins = triton.next_power_of_2(n_bins)
    _measure_rows[len(x),](
        histogram, squares, largest, x, first, row_slots, edges, x.shape[1], n_bins, bins, ROW_COLUMNS
    )


def add_norms_(norms: Tensor, squares: Tensor, largest: Tensor, first: Tensor, begins: Tensor, slots: Tensor) -> None:
    """Add rows to the sums of norms: float64 [shards, 2, 4], as in NormStats."""
    _add_norms[len(slots),](norms, squares, largest, first, begins, slots)


@triton.jit
def _add_moments(moments, x, first, begins, slots, d, COLUMNS: tl.constexpr):
    number = tl.program_id(0)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < d
    target = moments + tl.load(slots + number) * 4 * d + column
    rest, rest_square = tl.load(target, mask=inside), tl.load(target + d, mask=inside)
    at_first, first_square = tl.load(target + 2 * d, mask=inside), tl.load(target + 3 * d, mask=inside)
    for row in range(tl.load(begins + number), tl.load(begins + number + 1)):
        entries = tl.load(x + row * d + column, mask=inside, other=0.0).to(tl.float32).to(tl.float64)
        is_first = tl.load(first + row) != 0
        others, those = tl.where(is_first, 0.0, entries), tl.where(is_first, entries, 0.0)
        rest += others
        rest_square += others * others
        at_first += those
        first_square += those * those
    tl.store(target, rest, mask=inside)
    tl.store(target + d, rest_square, mask=inside)
    tl.store(target + 2 * d, at_first, mask=inside)
    tl.store(target + 3 * d, first_square, mask=inside)


@triton.jit
def _measure_rows(
    histogram, squares, largest, x, first, row_slots, edges, d, n_bins, BINS: tl.constexpr, COLUMNS: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    total = tl.zeros([COLUMNS], dtype=tl.float64)
    peak = tl.zeros([COLUMNS], dtype=tl.float64)
    for begin in range(0, d, COLUMNS):
        column = begin + tl.arange(0, COLUMNS)
        entries = tl.load(x + row * d + column, mask=column < d, other=0.0).to(tl.float32).to(tl.float64)
        total += entries * entries
        peak = tl.maximum(peak, tl.abs(entries))
    square = tl.sum(total, axis=0)
    tl.store(squares + row, square)
    tl.store(largest + row, tl.max(peak, axis=0))
    edge = tl.arange(0, BINS)
    below = tl.load(edges + edge, mask=edge < n_bins - 1, other=float("inf")) <= tl.sqrt(square)
    bin_index = tl.sum(below.to(tl.int64), axis=0)
    subset = tl.load(row_slots + row) * 2 + tl.load(first + row)
    tl.atomic_add(histogram + subset * n_bins + bin_index, 1)


@triton.jit
def _add_norms(norms, squares, largest, first, begins, slots):
    number = tl.program_id(0)
    subset = tl.arange(0, 2)  # the rows that are not at position 0, and those that are
    target = norms + tl.load(slots + number) * 8 + subset * 4
    count, total, square_total = tl.load(target), tl.load(target + 1), tl.load(target + 2)
    peak = tl.load(target + 3)
    for row in range(tl.load(begins + number), tl.load(begins + number + 1)):
        counted = tl.load(first + row) == subset
        square = tl.load(squares + row)
        count += tl.where(counted, 1.0, 0.0)
        total += tl.where(counted, tl.sqrt(square), 0.0)
        square_total += tl.where(counted, square, 0.0)
        peak = tl.maximum(peak, tl.where(counted, tl.load(largest + row), 0.0))
    tl.store(target, count)
    tl.store(target + 1, total)
    tl.store(target + 2, square_total)
    tl.store(target + 3, peak)
