"""Products on active (row, feature) pairs for GPUs, in Triton; `PairProducts` says what they compute.

A program computes one segment. Sums are float32, always in the same order. A weighted sum adds one pair after another,
and each thread holds some columns: sums across threads would take many times as long as fetching a row from the cache.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

MAX_COLUMNS = 4096  # of a row, per program, in a weighted sum
PAIRS, COLUMNS = 8, 256  # of gathered rows, per iteration, in dots


def weighted_sums(begins: Tensor, index: Tensor, weights: Tensor, source: Tensor) -> Tensor:
    total = weights.new_empty(len(begins) - 1, source.shape[1])
    add_weighted_sums_(total, begins, index, weights, source, first=True)
    return total


def add_weighted_sums_(
    total: Tensor, begins: Tensor, index: Tensor, weights: Tensor, source: Tensor, *, first: bool
) -> None:
    n, d = total.shape
    columns = min(triton.next_power_of_2(d), MAX_COLUMNS)
    _weighted_sums[n, triton.cdiv(d, columns)](begins, index, weights, source, total, d, not first, columns)


def dots(begins: Tensor, index: Tensor, rows: Tensor, source: Tensor, bias: Tensor) -> Tensor:
    n, d = rows.shape
    out = bias.new_empty(len(index))
    _dots[n,](begins, index, rows, source, bias, out, d, PAIRS, COLUMNS)
    return out


@triton.jit
def _weighted_sums(begins, index, weights, source, out, d, ADD: tl.constexpr, COLUMNS: tl.constexpr):
    segment = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < d
    total = tl.zeros([COLUMNS], dtype=tl.float32)
    for pair in range(tl.load(begins + segment), tl.load(begins + segment + 1)):
        entries = tl.load(source + tl.load(index + pair) * d + column, mask=inside, other=0.0)
        total += tl.load(weights + pair) * entries.to(tl.float32)
    target = out + segment * d + column
    if ADD:
        total += tl.load(target, mask=inside, other=0.0)
    tl.store(target, total, mask=inside)


@triton.jit
def _dots(
    begins, index, rows, source, bias, out, d, PAIRS: tl.constexpr, COLUMNS: tl.constexpr
):  # fmt: skip
    segment = tl.program_id(0).to(tl.int64)
    end = tl.load(begins + segment + 1)
    for first in range(tl.load(begins + segment), end, PAIRS):
        pair = first + tl.arange(0, PAIRS)
        valid = pair < end
        partner = tl.load(index + pair, mask=valid, other=0)
        total = tl.load(bias + partner, mask=valid, other=0.0).to(tl.float32)
        for begin in range(0, d, COLUMNS):
            column = begin + tl.arange(0, COLUMNS)
            inside = column < d
            a = tl.load(rows + segment * d + column, mask=inside, other=0.0).to(tl.float32)
            entries = source + partner[:, None] * d + column[None, :]
            b = tl.load(entries, mask=valid[:, None] & inside[None, :], other=0.0).to(tl.float32)
            total += tl.sum(a[None, :] * b, axis=1)
        tl.store(out + pair, total, mask=valid)
