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
from train.step.workspace import BatchNoise, StepWorkspace


class Weights:
    """A stack's weights in the type that products are computed in."""

    def __init__(self, sae: SAE, compute: torch.dtype) -> None:
        self.enc, self.dec, self.bias = (t.to(compute) for t in (sae.W_enc, sae.W_dec, sae.b_enc[:, None]))


class Encoded(Protocol):
    """A block of rows of n SAEs.

    fires int64 [n, d_sae]: in how many rows each feature fires; fires_without_noise, the same without noise.
    """

    @property
    def fires(self) -> Tensor: ...

    @property
    def fires_without_noise(self) -> Tensor: ...

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
    fires_without_noise: Tensor
    workspace: StepWorkspace

    def dense(self, part: slice) -> DenseFeatures:
        slope = None if self.workspace.slope is None else self.workspace.slope[part, : self.pre.shape[1]]
        return DenseFeatures.of(self.sae, self.pre[part], self.active[part], self.workspace.piece[part], slope)

    def sparse(self, part: slice) -> SparseFeatures:
        return SparseFeatures.of(self.sae, self.pre[part], self.active[part], self.fires[part])


def encode(
    sae: SAE, weights: Weights, inner: Tensor, epsilon: BatchNoise | None, rows: slice, workspace: StepWorkspace
) -> Encoded:
    """Encode inner = x − b_dec, of the type computed in: [n, rows, d_model], those rows of a batch."""
    if workspace.fused:
        from train.step.gpu.fused import Fused

        return Fused.of(sae, weights.enc, inner, epsilon, rows, workspace)
    n = inner.shape[1]
    pre = torch.baddbmm(weights.bias, inner, weights.enc.mT, out=workspace.c[:, :n])
    fires_without_noise = None if epsilon is None else count_rows(torch.gt(pre, 0, out=workspace.active[:, :n]))
    for some in slices(n, workspace.noise_rows):
        noise = None if epsilon is None else epsilon(slice(rows.start + some.start, rows.start + some.stop))
        sae.gate_(pre[:, some], None if noise is None else noise.to(pre.dtype))
    active = torch.gt(pre, 0, out=workspace.active[:, :n])
    fires = count_rows(active)
    return Gated(sae, pre, active, fires, fires if fires_without_noise is None else fires_without_noise, workspace)
