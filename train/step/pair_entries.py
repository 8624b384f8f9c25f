"""Selected (row, feature) pairs of one SAE as the entries that a loss is written on (train/sae/entries.py).

Each operation knows its gradient on the pairs alone. With L0 pairs per row it costs L0/d_sae of the product of
matrices that it stands for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from train.step.sparse import Pairs, segment_sums


@dataclass(frozen=True)
class PairEntries:
    """Pairs of one SAE over a batch. pre [pairs]: their pre-activations, at least float32."""

    pre: Tensor
    pairs: Pairs

    def spread(self, per_feature: Tensor) -> Tensor:
        return spread(per_feature, self.pairs)

    def row_sums(self, values: Tensor) -> Tensor:
        return row_sums(values, self.pairs)

    def decode(self, values: Tensor, W_dec: Tensor) -> Tensor:
        return decode(values, W_dec, self.pairs)

    def counts(self, values: Tensor) -> Tensor:
        return torch.bincount(self.pairs.feature[values.detach() != 0], minlength=len(self.pairs.counts))

    def among(self, values: Tensor, begin: int, end: int) -> tuple[PairEntries, Tensor]:
        inside = (self.pairs.feature >= begin) & (self.pairs.feature < end)
        return PairEntries(self.pre[inside], self.pairs.subset(inside)), values[inside]


def encoded_entries(
    values: Tensor, pairs: Pairs, inner: Tensor, W_enc: Tensor, bias: Tensor | None, shift: Tensor | None
) -> PairEntries:
    """Return the entries at pairs of π = W_enc (x − shift) + bias, differentiable in W_enc, bias and shift.

    values [pairs]: π there. inner [rows, d_model]: x − shift, or x if `shift` is None.
    """
    return PairEntries(encode(values, W_enc, bias, shift, inner, pairs), pairs)


class _Encode(Function):
    """π at pairs, computed before; its gradients are ∂L/∂W_enc = gᵀ inner, ∂L/∂bias = Σ g, ∂L/∂shift = −Σ g W_enc."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, W_enc: Tensor, bias: Tensor | None, shift: Tensor | None, inner: Tensor, pairs: Pairs
    ) -> Tensor:
        ctx.save_for_backward(W_enc, inner)
        ctx.pairs, ctx.has_bias, ctx.has_shift = pairs, bias is not None, shift is not None
        return values.view_as(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        W_enc, inner = ctx.saved_tensors
        pairs: Pairs = ctx.pairs
        by_feature = pairs.sorted_by_feature(g)
        dW_enc = torch.empty_like(W_enc)[None]
        pairs.add_outer_(by_feature, dW_enc, inner[None], first=True)
        sums = segment_sums(by_feature, pairs.by_feature[2])
        shift = -(sums.to(W_enc.dtype) @ W_enc) if ctx.has_shift else None
        return None, dW_enc[0], sums if ctx.has_bias else None, shift, None, None


class _Decode(Function):
    """x̂ = Σ values W_dec[feature] over each row's pairs."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, W_dec: Tensor, pairs: Pairs) -> Tensor:
        ctx.save_for_backward(values, W_dec)
        ctx.pairs = pairs
        return pairs.products.weighted_sums(pairs.row_begins, pairs.feature, values, W_dec)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        values, W_dec = ctx.saved_tensors
        pairs: Pairs = ctx.pairs
        g = g.contiguous().to(W_dec.dtype)
        order, row, begins = pairs.by_feature
        dvalues = dW_dec = None
        if ctx.needs_input_grad[0]:
            nothing = torch.zeros(len(g), dtype=values.dtype, device=g.device)
            dvalues = torch.empty_like(values)
            dvalues[order] = pairs.products.dots(begins, row, W_dec, g, nothing).to(values.dtype)
        if ctx.needs_input_grad[1]:
            dW_dec = torch.empty_like(W_dec)[None]
            pairs.add_outer_(pairs.sorted_by_feature(values), dW_dec, g[None], first=True)
            dW_dec = dW_dec[0]
        return dvalues, dW_dec, None


class _Spread(Function):
    """A number per feature at its pairs; the gradient is summed per feature, in the same order each time."""

    @staticmethod
    def forward(ctx: Any, per_feature: Tensor, pairs: Pairs) -> Tensor:
        ctx.pairs = pairs
        return per_feature.index_select(0, pairs.feature)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        pairs: Pairs = ctx.pairs
        return segment_sums(pairs.sorted_by_feature(g), pairs.by_feature[2]), None


class _RowSums(Function):
    """The sum over each row's pairs."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, pairs: Pairs) -> Tensor:
        ctx.pairs = pairs
        return segment_sums(values, pairs.row_begins)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        return g.index_select(0, ctx.pairs.row), None


spread: Callable[..., Tensor] = _Spread.apply
row_sums: Callable[..., Tensor] = _RowSums.apply
decode: Callable[..., Tensor] = _Decode.apply
encode: Callable[..., Tensor] = _Encode.apply
