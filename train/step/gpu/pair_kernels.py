"""Products on active pairs for GPUs, in Triton; pair_products.py says what they are, and has them for CPUs.

A program does one segment. Sums are float32 and always in the same order. A weighted sum takes pair by pair, of all
columns, each thread its own: sums across threads take many times as long as the row does to come from the cache.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

MOST_COLUMNS = 4096  # of a row, at once, in a weighted sum
PAIRS, COLUMNS = 8, 256  # of gathered rows at once, in products


def weighted_sums(begins: Tensor, index: Tensor, weights: Tensor, source: Tensor) -> Tensor:
    total = weights.new_empty(len(begins) - 1, source.shape[1])
    add_weighted_sums_(total, begins, index, weights, source, first=True)
    return total


def add_weighted_sums_(
    total: Tensor, begins: Tensor, index: Tensor, weights: Tensor, source: Tensor, *, first: bool
) -> None:
    n, d = total.shape
    columns = min(triton.next_power_of_2(d), MOST_COLUMNS)
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
    written = out + segment * d + column
    if ADD:
        total += tl.load(written, mask=inside, other=0.0)
    tl.store(written, total, mask=inside)


@triton.jit
def _dots(
    begins, index, rows, source, bias, out, d, PAIRS: tl.constexpr, COLUMNS: tl.constexpr
):  # fmt: skip
    segment = tl.program_id(0).to(tl.int64)
    end = tl.load(begins + segment + 1)
    for first in range(tl.load(begins + segment), end, PAIRS):
        pair = first + tl.arange(0, PAIRS)
        there = pair < end
        other = tl.load(index + pair, mask=there, other=0)
        total = tl.load(bias + other, mask=there, other=0.0).to(tl.float32)
        for begin in range(0, d, COLUMNS):
            column = begin + tl.arange(0, COLUMNS)
            inside = column < d
            a = tl.load(rows + segment * d + column, mask=inside, other=0.0).to(tl.float32)
            place = source + other[:, None] * d + column[None, :]
            b = tl.load(place, mask=there[:, None] & inside[None, :], other=0.0).to(tl.float32)
            total += tl.sum(a[None, :] * b, axis=1)
        tl.store(out + pair, total, mask=there)
