"""The loss's gradients for a stack of SAEs, written out, so that a step keeps little memory and allocates less.

With r = x̂ − x in the SAE's own scale, w the weight of a squared entry (objective.py) and B the batch's rows:

    ∂L/∂x̂ = 2 w r / B              ∂L/∂W_dec = cᵀ ∂L/∂x̂         ∂L/∂c = ∂L/∂x̂ W_decᵀ + β/B
    ∂L/∂pre = activation′ · ∂L/∂c  ∂L/∂W_enc = (∂L/∂pre)ᵀ (x − b_dec)    ∂L/∂b_enc = Σ ∂L/∂pre
    ∂L/∂b_dec = Σ ∂L/∂x̂ − ∂L/∂b_enc W_enc                         (the bias is tied: the encoder sees x − b_dec)

Rows are independent, so the batch is worked through in blocks of rows, and only a block's features are in memory.
Products are computed in `compute` (bfloat16 on a GPU); parameters, gradients and sums stay float32.

Not here: the optimizer (optimizer.py), constraints (the architectures), what is measured (measures.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from train.sae import SAE, Gradients

Epsilon = Callable[[slice], Tensor]


@dataclass(frozen=True)
class Blocks:
    """Reused memory for a block of rows: c and ∂L/∂c, [n, rows, d_sae] each, of the type computed in."""

    c: Tensor
    gradient: Tensor

    @classmethod
    def allocate(cls, n: int, rows: int, d_sae: int, *, compute: torch.dtype, device: torch.device) -> Blocks:
        return cls(*(torch.empty(n, rows, d_sae, dtype=compute, device=device) for _ in range(2)))

    def narrow(self, n: int) -> Blocks:
        """The first n SAEs' part of the same memory."""
        return Blocks(self.c[:n], self.gradient[:n])


@dataclass(frozen=True)
class Forward:
    """What a step saw of n SAEs and B rows.

    l1 [n, B]: ‖c‖₁ of each row; fires int64 [n, d_sae]: in how many rows each feature fired; residual [n, B, d_model]:
    x̂ − x in the SAEs' own scale.
    """

    l1: Tensor
    fires: Tensor
    residual: Tensor


@torch.no_grad()
def forward(sae: SAE, x: Tensor, epsilon: Epsilon | None, *, blocks: Blocks) -> Forward:
    """What a stack of SAEs makes of x [n, B, d_model], the input as they see it; see `gradients`."""
    inner = x - sae.b_dec[:, None]
    weights = _Weights(sae, blocks.c.dtype)
    found = _empty_forward(sae, x)
    for rows in _row_blocks(x.shape[1], blocks):
        _forward_block(sae, weights, inner, epsilon, rows, blocks, found)
    return found


@torch.no_grad()
def gradients(
    sae: SAE, x: Tensor, beta: Tensor, epsilon: Epsilon | None, *, l2_weight: float, blocks: Blocks, out: Gradients
) -> Forward:
    """Fill `out` with the gradients of the mean loss of each SAE of a stack.

    x [n, B, d_model] is the input as the SAEs see it (divided by `input_scale`); it is overwritten. beta [n, 1] or
    [n, B]; epsilon gives standard normal noise [rows, d_sae] for a slice of the rows, shared by the stack.
    """
    n_rows = x.shape[1]
    inner = x.sub_(sae.b_dec[:, None])
    weights = _Weights(sae, blocks.c.dtype)
    beta = beta.expand(-1, n_rows)
    found = _empty_forward(sae, x)
    for tensor in out.tensors():
        tensor.zero_()
    for rows in _row_blocks(n_rows, blocks):
        c, here = _forward_block(sae, weights, inner, epsilon, rows, blocks, found)
        outer = found.residual[:, rows] * (2 * l2_weight / n_rows)
        out.b_dec.add_(outer.sum(dim=1))
        outer = outer.to(c.dtype)
        _add_product(out.W_dec, c.mT, outer)
        sparsity = (beta[:, rows, None] / n_rows).to(c.dtype)
        gradient = torch.baddbmm(sparsity, outer, weights.dec.mT, out=blocks.gradient[:, : c.shape[1]])
        gradient = sae.activation_backward_(gradient, c)
        _add_product(out.W_enc, gradient.mT, here)
        out.b_enc.add_(gradient.sum(dim=1, dtype=out.b_enc.dtype))
    out.b_dec.sub_((out.b_enc[:, None] @ sae.W_enc)[:, 0])
    return found


class _Weights:
    """A stack's weights in the type that products are computed in."""

    def __init__(self, sae: SAE, compute: torch.dtype) -> None:
        self.enc, self.dec, self.bias = (t.to(compute) for t in (sae.W_enc, sae.W_dec, sae.b_enc[:, None]))


def _empty_forward(sae: SAE, x: Tensor) -> Forward:
    fires = torch.zeros(sae.b_enc.shape, dtype=torch.int64, device=x.device)
    return Forward(torch.empty_like(x[..., 0]), fires, torch.empty_like(x))


def _row_blocks(n_rows: int, blocks: Blocks) -> Iterator[slice]:
    size = blocks.c.shape[1]
    for begin in range(0, n_rows, size):
        yield slice(begin, min(begin + size, n_rows))


def _forward_block(
    sae: SAE, weights: _Weights, inner: Tensor, epsilon: Epsilon | None, rows: slice, blocks: Blocks, found: Forward
) -> tuple[Tensor, Tensor]:
    """Fill in what is found of some rows; returns their c [n, rows, d_sae] and x − b_dec, in the type computed in."""
    here = inner[:, rows].to(blocks.c.dtype)
    pre = torch.baddbmm(weights.bias, here, weights.enc.mT, out=blocks.c[:, : here.shape[1]])
    c = sae.activate(pre, None if epsilon is None else epsilon(rows).to(pre.dtype), out=pre)
    found.l1[:, rows] = c.sum(dim=-1, dtype=found.l1.dtype)
    found.fires.add_(torch.count_nonzero(c, dim=1))
    found.residual[:, rows] = torch.bmm(c, weights.dec)
    found.residual[:, rows].sub_(inner[:, rows])
    return c, here


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """total += a @ b, in place where no change of type is needed."""
    if a.dtype == total.dtype:
        total.baddbmm_(a, b)
    else:
        total.add_(torch.bmm(a, b))
