"""The loss's gradients for a stack of SAEs, written out, so that a step keeps little memory and allocates less.

With r = x̂ − x in the SAE's own scale, w the weight of a squared entry (objective.py) and B the batch's rows:

    ∂L/∂x̂ = 2 w r / B              ∂L/∂W_dec = cᵀ ∂L/∂x̂         ∂L/∂c = ∂L/∂x̂ W_decᵀ + β/B
    ∂L/∂pre = activation′ · ∂L/∂c  ∂L/∂W_enc = (∂L/∂pre)ᵀ (x − b_dec)    ∂L/∂b_enc = Σ ∂L/∂pre
    ∂L/∂b_dec = Σ ∂L/∂x̂ − ∂L/∂b_enc W_enc                         (the bias is tied: the encoder sees x − b_dec)

Rows are independent, so the batch is worked through in blocks of rows, and only a block's features are in memory.
Products are computed in `compute` (bfloat16 on a GPU); parameters, gradients and sums stay float32.

Not here: the products of features (features.py), the optimizer (optimizer.py), constraints (the architectures), what
is measured (measures.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from train.dense import count_rows, slices
from train.features import Features, split
from train.sae import SAE, Gradients

Epsilon = Callable[[slice], Tensor]


@dataclass(frozen=True)
class Blocks:
    """Reused memory for a block of rows, [n, rows, d_sae] each: c, of the type computed in, and where c > 0.

    ∂L/∂c is needed only in passing, so that there is room for some features' alone: `piece` [n, rows, fewer features].
    `slope` is memory for ∂c/∂pre, where the type computed in is too coarse to tell it from c (SAE.saturates).
    Noise is asked for `noise_rows` rows at a time. Up to a share of `sparse_below` active pairs a block's products are
    done on them alone (0: never).
    """

    c: Tensor
    active: Tensor
    piece: Tensor
    slope: Tensor | None
    noise_rows: int
    sparse_below: float

    @classmethod
    def allocate(
        cls, n: int, rows: int, d_sae: int, *, piece_features: int, noise_rows: int, sparse_below: float,
        compute: torch.dtype, device: torch.device, keep_slope: bool = False,
    ) -> Blocks:  # fmt: skip
        c, active, piece, slope = (
            torch.empty(n, rows, features, dtype=dtype, device=device)
            for features, dtype in (
                (d_sae, compute), (d_sae, torch.bool), (piece_features, compute), (d_sae if keep_slope else 0, compute)
            )
        )  # fmt: skip
        return cls(c, active, piece, slope if keep_slope else None, noise_rows, sparse_below)

    @property
    def n_rows(self) -> int:
        return self.c.shape[1]

    def narrow(self, n: int) -> Blocks:
        """The first n SAEs' part of the same memory."""
        slope = None if self.slope is None else self.slope[:n]
        return replace(self, c=self.c[:n], active=self.active[:n], piece=self.piece[:n], slope=slope)


@dataclass(frozen=True)
class Forward:
    """What a step saw of n SAEs and B rows.

    l1 [n, B]: ‖c‖₁ of each row; fires int64 [n, d_sae]: in how many rows each feature fired; driven, the same without
    noise, that is by the inputs alone; residual [n, B, d_model]: x̂ − x in the SAEs' own scale.
    """

    l1: Tensor
    fires: Tensor
    driven: Tensor
    residual: Tensor


@torch.no_grad()
def forward(sae: SAE, x: Tensor, epsilon: Epsilon | None, *, blocks: Blocks) -> Forward:
    """What a stack of SAEs makes of x [n, B, d_model], the input as they see it, which is overwritten."""
    found = _empty_forward(sae, x, epsilon)
    inner = x.sub_(sae.b_dec[:, None])
    for _ in _encoded(sae, _Weights(sae, blocks.c.dtype), inner, epsilon, blocks, found):
        pass
    return found


@torch.no_grad()
def gradients(
    sae: SAE, x: Tensor, beta: Tensor, epsilon: Epsilon | None, *, l2_weight: float, blocks: Blocks, out: Gradients
) -> Forward:
    """Fill `out` with the gradients of the mean loss of each SAE of a stack.

    x [n, B, d_model] is the input as the SAEs see it (divided by `input_scale`); it is overwritten. beta [n, 1] or
    [n, B]; epsilon gives standard normal noise [rows, d_sae] for `blocks.noise_rows` of the rows or fewer, shared by
    the stack.
    """
    n_rows = x.shape[1]
    found = _empty_forward(sae, x, epsilon)
    weights = _Weights(sae, blocks.c.dtype)
    inner = x.sub_(sae.b_dec[:, None])
    sparsity = (beta.expand(-1, n_rows) / n_rows).to(blocks.c.dtype)
    out.b_dec.zero_()
    out.b_enc.zero_()
    for part, rows, here, c in _encoded(sae, weights, inner, epsilon, blocks, found):
        outer = found.residual[part, rows] * (2 * l2_weight / n_rows)
        out.b_dec[part] += outer.sum(dim=1)
        outer = outer.to(blocks.c.dtype)
        c.add_outer_(out.W_dec[part], outer, first=not rows.start)
        gradient = c.backward(sae, outer, weights.dec[part], sparsity[part, rows])
        gradient.add_outer_(out.W_enc[part], here[part], first=not rows.start)
        gradient.add_sum_(out.b_enc[part])
    out.b_dec.sub_((out.b_enc[:, None] @ sae.W_enc)[:, 0])
    return found


class _Weights:
    """A stack's weights in the type that products are computed in."""

    def __init__(self, sae: SAE, compute: torch.dtype) -> None:
        self.enc, self.dec, self.bias = (t.to(compute) for t in (sae.W_enc, sae.W_dec, sae.b_enc[:, None]))


def _empty_forward(sae: SAE, x: Tensor, epsilon: Epsilon | None) -> Forward:
    fires = torch.zeros(sae.b_enc.shape, dtype=torch.int64, device=x.device)
    driven = fires if epsilon is None else torch.zeros_like(fires)
    return Forward(torch.empty_like(x[..., 0]), fires, driven, torch.empty_like(x))


def _encoded(
    sae: SAE, weights: _Weights, inner: Tensor, epsilon: Epsilon | None, blocks: Blocks, found: Forward
) -> Iterator[tuple[slice, slice, Tensor, Features]]:
    """Fill in what is found, block by block: gives a part of the stack, rows, x − b_dec of all, and the part's c."""
    n_rows = inner.shape[1]
    for rows in slices(n_rows, blocks.n_rows):
        n = rows.stop - rows.start
        here = inner[:, rows].to(blocks.c.dtype)
        pre = torch.baddbmm(weights.bias, here, weights.enc.mT, out=blocks.c[:, :n])
        if epsilon is not None:
            found.driven.add_(count_rows(torch.gt(pre, 0, out=blocks.active[:, :n])))
        for some in slices(n, blocks.noise_rows):
            noise = None if epsilon is None else epsilon(slice(rows.start + some.start, rows.start + some.stop))
            sae.gate_(pre[:, some], None if noise is None else noise.to(pre.dtype))
        active = torch.gt(pre, 0, out=blocks.active[:, :n])
        fires = count_rows(active)
        found.fires.add_(fires)
        slope = None if blocks.slope is None else blocks.slope[:, :n]
        parts = split(sae, pre, active=active, fires=fires, piece=blocks.piece, slope=slope, below=blocks.sparse_below)
        for part, c in parts:
            found.l1[part, rows] = c.l1()
            torch.sub(c.decode(weights.dec[part]), inner[part, rows], out=found.residual[part, rows])
            yield part, rows, here, c
