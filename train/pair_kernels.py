"""Products on active pairs for GPUs, in Triton; pair_products.py says what they are, and has them for CPUs.

A program does one segment, PAIRS of its pairs at a time, so that as many gathered rows are on their way from memory at
once. Sums are float32 and always in the same order.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

PAIRS = 8
COLUMNS = 256  # of a gathered row, at once


def weighted_sums(begins: Tensor, index: Tensor, weights: Tensor, source: Tensor) -> Tensor:
    total = weights.new_empty(len(begins) - 1, source.shape[1])
    add_weighted_sums_(total, begins, index, weights, source, first=True)
    return total


def add_weighted_sums_(
    total: Tensor, begins: Tensor, index: Tensor, weights: Tensor, source: Tensor, *, first: bool
) -> None:
    n, d = total.shape
    _weighted_sums[n, triton.cdiv(d, COLUMNS)](begins, index, weights, source, total, d, not first, PAIRS, COLUMNS)


def dots(begins: Tensor, index: Tensor, rows: Tensor, source: Tensor, bias: Tensor) -> Tensor:
    n, d = rows.shape
    out = bias.new_empty(len(index))
    _dots[n,](begins, index, rows, source, bias, out, d, PAIRS, COLUMNS)
    return out


@triton.jit
def _weighted_sums(
    begins, index, weights, source, out, d, ADD: tl.constexpr, PAIRS: tl.constexpr, COLUMNS: tl.constexpr
):  # fmt: skip
    segment = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < d
    total = tl.zeros([COLUMNS], dtype=tl.float32)
    end = tl.load(begins + segment + 1)
    for first in range(tl.load(begins + segment), end, PAIRS):
        pair = first + tl.arange(0, PAIRS)
        there = pair < end
        place = source + tl.load(index + pair, mask=there, other=0)[:, None] * d + column[None, :]
        entries = tl.load(place, mask=there[:, None] & inside[None, :], other=0.0).to(tl.float32)
        weight = tl.load(weights + pair, mask=there, other=0.0)
        total += tl.sum(weight[:, None] * entries, axis=0)
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
        total = tl.zeros([PAIRS], dtype=tl.float32) + tl.load(bias + segment)
        for begin in range(0, d, COLUMNS):
            column = begin + tl.arange(0, COLUMNS)
            inside = column < d
            a = tl.load(rows + segment * d + column, mask=inside, other=0.0).to(tl.float32)
            place = source + other[:, None] * d + column[None, :]
            b = tl.load(place, mask=there[:, None] & inside[None, :], other=0.0).to(tl.float32)
            total += tl.sum(a[None, :] * b, axis=1)
        tl.store(out + pair, total, mask=there)
