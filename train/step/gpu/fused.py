"""Encoding and its gradient by the GPU's kernels (dense_kernels.py): c is never there without its activation.

Here are the architectures that the kernels know; dense.py and encode.py have all of this for any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from train.sae import SAE
from train.step.dense import add_product_, product, slices
from train.step.gpu import dense_kernels
from train.step.sparse import Pairs, SparseFeatures, places
from train.step.workspace import FUSED, BatchNoise, StepWorkspace


@dataclass(frozen=True)
class FusedFeatures:
    """c [k, rows, d_sae], its slope where that is kept, and ‖c‖₁ [k, rows], which the kernel comes by."""

    c: Tensor
    slope: Tensor | None
    by_row: Tensor

    def l1(self) -> Tensor:
        return self.by_row

    def decode(self, W_dec: Tensor) -> Tensor:
        return product(self.c, W_dec)

    def add_outer_(self, total: Tensor, rows: Tensor, *, first: bool) -> None:
        add_product_(total, self.c.mT, rows, first=first)

    def backward(self, sae: SAE, outer: Tensor, W_dec: Tensor, sparsity: Tensor) -> FusedGradient:
        sums = dense_kernels.backward(outer, W_dec, sparsity.contiguous(), c=self.c, slope=self.slope)
        return FusedGradient(self.c, sums)


@dataclass(frozen=True)
class FusedGradient:
    """A gradient along the pre-activations [k, rows, d_sae], and its sum over the rows [k, d_sae]."""

    values: Tensor
    by_feature: Tensor

    def add_outer_(self, total: Tensor, rows: Tensor, *, first: bool) -> None:
        add_product_(total, self.values.mT, rows, first=first)

    def add_sum_(self, total: Tensor) -> None:
        total.add_(self.by_feature)


@dataclass(frozen=True)
class Fused:
    """See encode.Encoded. c, and slope where it does not tell ∂c/∂pre: [n, rows, d_sae]; l1 [n, rows]."""

    c: Tensor
    slope: Tensor | None
    l1: Tensor
    fires: Tensor
    fires_without_noise: Tensor

    @classmethod
    def of(
        cls, sae: SAE, W_enc: Tensor, inner: Tensor, epsilon: BatchNoise | None, rows: slice, workspace: StepWorkspace
    ) -> Fused:
        n = inner.shape[1]
        c = workspace.c[:, :n]
        slope = workspace.slope[:, :n] if workspace.slope is not None and sae.needs_derivative else None
        found = []
        epsilon = epsilon if sae.uses_noise else None
        for some in slices(n, n if epsilon is None else workspace.noise_rows):
            noise = None
            if epsilon is not None:
                drawn = epsilon(slice(rows.start + some.start, rows.start + some.stop))
                noise = sae.get_buffer("sigma"), drawn
            found.append(
                dense_kernels.encode(
                    inner[:, some], W_enc, sae.b_enc, noise, tanh=FUSED[sae.variant], c=c[:, some],
                    slope=None if slope is None else slope[:, some],
                )
            )  # fmt: skip
        l1, fires, fires_without_noise = zip(*found, strict=True)
        return cls(c, slope, torch.cat(l1, dim=1), _total(fires), _total(fires_without_noise))

    def dense(self, part: slice) -> FusedFeatures:
        slope = None if self.slope is None else self.slope[part]
        return FusedFeatures(self.c[part], slope, self.l1[part])

    def sparse(self, part: slice) -> SparseFeatures:
        c = self.c[part]
        place = places(c.reshape(-1))
        slope = None if self.slope is None else self.slope[part].reshape(-1)[place].float()
        pairs = Pairs.of(place, self.fires[part], c.shape[1])
        return SparseFeatures(pairs, c.reshape(-1)[place].float(), slope)


def _total(counts: Sequence[Tensor]) -> Tensor:
    return torch.stack([*counts]).sum(dim=0)
