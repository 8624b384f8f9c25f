"""Encoding a block of rows: what fires, and c in the form that its products are computed in.

By PyTorch's operations here, for any architecture; by the GPU's kernels in fused.py, for those that they know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from train.sae import SAE
from train.step.dense import DenseFeatures, count_rows, slices
from train.step.features import Features
from train.step.sparse import SparseFeatures
from train.step.workspace import Blocks, Epsilon


class Weights:
    """A stack's weights in the type that products are computed in."""

    def __init__(self, sae: SAE, compute: torch.dtype) -> None:
        self.enc, self.dec, self.bias = (t.to(compute) for t in (sae.W_enc, sae.W_dec, sae.b_enc[:, None]))


class Encoded(Protocol):
    """A block of rows of n SAEs.

    fires int64 [n, d_sae]: in how many rows each feature fires; driven, the same without noise.
    """

    @property
    def fires(self) -> Tensor: ...

    @property
    def driven(self) -> Tensor: ...

    def dense(self, part: slice) -> Features:
        """c of a part of the stack, as a matrix."""

    def sparse(self, part: slice) -> Features:
        """The same as active pairs."""


@dataclass(frozen=True)
class Gated:
    """Encoded up to the activation, which is left to be done on what is active alone: pre, in the blocks' c."""

    sae: SAE
    pre: Tensor
    active: Tensor
    fires: Tensor
    driven: Tensor
    blocks: Blocks

    def dense(self, part: slice) -> DenseFeatures:
        slope = None if self.blocks.slope is None else self.blocks.slope[part, : self.pre.shape[1]]
        return DenseFeatures.of(self.sae, self.pre[part], self.active[part], self.blocks.piece[part], slope)

    def sparse(self, part: slice) -> SparseFeatures:
        return SparseFeatures.of(self.sae, self.pre[part], self.active[part], self.fires[part])


def encode(sae: SAE, weights: Weights, inner: Tensor, epsilon: Epsilon | None, rows: slice, blocks: Blocks) -> Encoded:
    """Encode inner = x − b_dec, of the type computed in: [n, rows, d_model], those rows of a batch."""
    if blocks.fused:
        from train.step.gpu.fused import Fused

        return Fused.of(sae, weights.enc, inner, epsilon, rows, blocks)
    n = inner.shape[1]
    pre = torch.baddbmm(weights.bias, inner, weights.enc.mT, out=blocks.c[:, :n])
    driven = None if epsilon is None else count_rows(torch.gt(pre, 0, out=blocks.active[:, :n]))
    for some in slices(n, blocks.noise_rows):
        noise = None if epsilon is None else epsilon(slice(rows.start + some.start, rows.start + some.stop))
        sae.gate_(pre[:, some], None if noise is None else noise.to(pre.dtype))
    active = torch.gt(pre, 0, out=blocks.active[:, :n])
    fires = count_rows(active)
    return Gated(sae, pre, active, fires, fires if driven is None else driven, blocks)
