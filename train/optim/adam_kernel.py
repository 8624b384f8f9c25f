"""Adam for GPUs in one pass over memory, in Triton, which also keeps decoder rows at norm 1; see adam.py."""

from __future__ import annotations

from collections.abc import Sequence

import triton
import triton.language as tl
from torch import Tensor

COLUMNS = 1024  # of a row, per program, where its norm is not needed


def adam_(
    tensors: Sequence[Tensor], rates: Tensor, *, factor: float, step: int, beta1: float, beta2: float, eps: float,
    unit: bool,
) -> None:  # fmt: skip
    """Take step number `step` (from 1) of n SAEs at learning rates [n] times `factor`.

    tensors: parameter, gradient, first and second moment, float32 [n, …, d]. If `unit`, rows [d] have norm 1: the
    gradient loses its component along them before the step, and they are divided by their norm after it.
    """
    d = tensors[0].shape[-1]
    n_rows = tensors[0].numel() // d
    columns = triton.next_power_of_2(d) if unit else COLUMNS
    _adam[n_rows, triton.cdiv(d, columns)](
        *tensors, rates, n_rows // len(rates), d, 1 - beta1, 1 - beta2, eps,
        factor / (1 - beta1**step), 1 / (1 - beta2**step), unit, columns,
    )  # fmt: skip


@triton.jit
def _adam(
    parameter, gradient, mean, square, rates, rows_each, d, mean_rate, square_rate, eps, mean_scale, square_scale,
    UNIT: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < d
    index = row * d + column
    w = tl.load(parameter + index, mask=inside, other=0.0)
    g = tl.load(gradient + index, mask=inside, other=0.0)
    if UNIT:
        g -= tl.sum(g * w, axis=0) * w
    m = tl.load(mean + index, mask=inside, other=0.0)
    v = tl.load(square + index, mask=inside, other=0.0)
    m += mean_rate * (g - m)
    v += square_rate * (g * g - v)
    w -= tl.load(rates + row // rows_each) * m * mean_scale / (tl.sqrt(v * square_scale) + eps)
    if UNIT:
        w /= tl.sqrt(tl.sum(w * w, axis=0))
    tl.store(parameter + index, w, mask=inside)
    tl.store(mean + index, m, mask=inside)
    tl.store(square + index, v, mask=inside)
