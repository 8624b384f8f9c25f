"""Encoding and its gradient by the GPU's kernels (dense_kernels.py), which apply the activation as they write c.

They know the activations that `SAE.fused_activation` names. encode.py and dense.py serve every architecture.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from train.sae import ElementwiseSAE
from train.sae.selection import flatnonzero
from train.step.dense import add_product_, product
from train.step.gpu import dense_kernels
from train.step.noise import BatchNoise
from train.step.pair_products import PairProducts
from train.step.sparse import Pairs, SparseFeatures
from train.step.workspace import ComputeWeights, StepWorkspace, slices


@dataclass(frozen=True)
class FusedEncoder:
    """See `encode.Encoder`. products: the backend of the products on pairs."""

    sae: ElementwiseSAE
    workspace: StepWorkspace
    products: PairProducts

    def encode(self, weights: ComputeWeights, inner: Tensor, noise: BatchNoise | None, rows: slice) -> FusedBlock:
        sae, workspace, n_rows = self.sae, self.workspace, inner.shape[1]
        noise = noise if sae.uses_noise else None
        c = workspace.c[:, :n_rows]
        dactivation = None
        if workspace.dactivation is not None and sae.needs_derivative:
            dactivation = workspace.dactivation[:, :n_rows]
        l1, fires, fires_without_noise = [], [], []
        for part in slices(n_rows, n_rows if noise is None else workspace.noise_rows):
            scaled_noise = None
            if noise is not None:
                epsilon = noise(slice(rows.start + part.start, rows.start + part.stop))
                scaled_noise = sae.get_buffer("sigma"), epsilon
            part_l1, part_fires, part_without_noise = dense_kernels.encode(
                inner[:, part], weights.W_enc, sae.b_enc, scaled_noise, tanh=sae.fused_activation == "tanh",
                c=c[:, part], dactivation=None if dactivation is None else dactivation[:, part],
            )  # fmt: skip
            l1.append(part_l1)
            fires.append(part_fires)
            fires_without_noise.append(part_without_noise)
        return FusedBlock(
            self, c, dactivation, torch.cat(l1, dim=1), torch.stack(fires).sum(dim=0),
            torch.stack(fires_without_noise).sum(dim=0),
        )  # fmt: skip


@dataclass(frozen=True)
class FusedBlock:
    """See `features.EncodedBlock`. c, and ∂c/∂pre if c does not determine it: [n, rows, d_sae]; l1 [n, rows]."""

    encoder: FusedEncoder
    c: Tensor
    dactivation: Tensor | None
    l1: Tensor
    fires: Tensor
    fires_without_noise: Tensor

    @property
    def n_rows(self) -> int:
        return self.c.shape[1]

    def dense(self, saes: slice) -> FusedFeatures:
        dactivation = None if self.dactivation is None else self.dactivation[saes]
        return FusedFeatures(self.c[saes], dactivation, self.l1[saes])

    def sparse(self, saes: slice) -> SparseFeatures:
        c = self.c[saes]
        position = flatnonzero(c.reshape(-1))
        dactivation = None if self.dactivation is None else self.dactivation[saes].reshape(-1)[position].float()
        pairs = Pairs.of(position, self.fires[saes], self.n_rows, self.encoder.products)
        return SparseFeatures(self.encoder.sae, pairs, c.reshape(-1)[position].float(), dactivation)


@dataclass(frozen=True)
class FusedFeatures:
    """c [k, rows, d_sae], ∂c/∂pre where it is kept, and ‖c‖₁ [k, rows], which the kernel returns with c."""

    c: Tensor
    dactivation: Tensor | None
    row_l1: Tensor

    def l1(self) -> Tensor:
        return self.row_l1

    def decode(self, W_dec: Tensor) -> Tensor:
        return product(self.c, W_dec)

    def add_outer_(self, total: Tensor, rows: Tensor, *, first: bool) -> None:
        add_product_(total, self.c.mT, rows, first=first)

    def backward_(self, dx_hat: Tensor, W_dec: Tensor, dl1: Tensor) -> FusedGradient:
        """∂L/∂pre, written over c by one kernel."""
        sums = dense_kernels.backward_(dx_hat, W_dec, dl1.contiguous(), c=self.c, dactivation=self.dactivation)
        return FusedGradient(self.c, sums)


@dataclass(frozen=True)
class FusedGradient:
    """∂L/∂pre [k, rows, d_sae], and its sum over the rows [k, d_sae]."""

    values: Tensor
    row_sum: Tensor

    def add_outer_(self, total: Tensor, rows: Tensor, *, first: bool) -> None:
        add_product_(total, self.values.mT, rows, first=first)

    def add_sum_(self, total: Tensor) -> None:
        total.add_(self.row_sum)
