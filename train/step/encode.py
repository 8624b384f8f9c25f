"""Encoding a block of rows: which features fire, and c in its dense or sparse form.

`TorchEncoder` uses PyTorch's operations and serves every architecture. `FusedEncoder` (gpu/fused.py) uses GPU kernels,
for architectures that state a `fused_activation`. `make_encoder` chooses between them, once per stack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from train.sae import ElementwiseSAE
from train.step import pair_products
from train.step.dense import DenseFeatures
from train.step.features import EncodedBlock
from train.step.noise import BatchNoise
from train.step.pair_products import PairProducts
from train.step.sparse import SparseFeatures
from train.step.workspace import ComputeWeights, StepWorkspace, slices

COUNTED_ROWS = 255  # a byte holds counts up to this; PyTorch sums bytes ten times as fast as wider numbers


class Encoder(Protocol):
    """Encodes blocks of rows of one stack of SAEs, in one workspace."""

    @property
    def sae(self) -> ElementwiseSAE: ...

    @property
    def workspace(self) -> StepWorkspace: ...

    def encode(self, weights: ComputeWeights, inner: Tensor, noise: BatchNoise | None, rows: slice) -> EncodedBlock:
        """Encode inner = x − b_dec [n, rows, d_model], in the compute dtype; `rows` are their numbers in the batch.

        The result lies in the workspace: it is valid until the next block is encoded.
        """


def make_encoder(sae: ElementwiseSAE, workspace: StepWorkspace) -> Encoder:
    """Choose the backend of a stack: PyTorch's operations or the GPU's kernels."""
    if not workspace.c.is_cuda:
        return TorchEncoder(sae, workspace, pair_products)
    from train.step.gpu import pair_kernels
    from train.step.gpu.fused import FusedEncoder

    return (FusedEncoder if workspace.fused else TorchEncoder)(sae, workspace, pair_kernels)


@dataclass(frozen=True)
class TorchEncoder:
    """See `Encoder`. products: the backend of the products on pairs."""

    sae: ElementwiseSAE
    workspace: StepWorkspace
    products: PairProducts

    def encode(self, weights: ComputeWeights, inner: Tensor, noise: BatchNoise | None, rows: slice) -> GatedBlock:
        """Compute pre = W_enc inner + b_enc, add the noise, gate, and count the entries above 0."""
        sae, workspace, n_rows = self.sae, self.workspace, inner.shape[1]
        active = workspace.active[:, :n_rows]
        pre = torch.baddbmm(weights.b_enc, inner, weights.W_enc.mT, out=workspace.c[:, :n_rows])
        fires_without_noise = None if noise is None else count_rows(torch.gt(pre, 0, out=active))
        for part in slices(n_rows, workspace.noise_rows):
            epsilon = None if noise is None else noise(slice(rows.start + part.start, rows.start + part.stop))
            sae.gate_(pre[:, part], None if epsilon is None else epsilon.to(pre.dtype))
        fires = count_rows(torch.gt(pre, 0, out=active))
        return GatedBlock(self, pre, active, fires, fires if fires_without_noise is None else fires_without_noise)


@dataclass(frozen=True)
class GatedBlock:
    """See `EncodedBlock`. Gated pre-activations; the activation is left to the dense or sparse form."""

    encoder: TorchEncoder
    pre: Tensor
    active: Tensor
    fires: Tensor
    fires_without_noise: Tensor

    @property
    def n_rows(self) -> int:
        return self.pre.shape[1]

    def dense(self, saes: slice) -> DenseFeatures:
        sae, workspace = self.encoder.sae, self.encoder.workspace
        dactivation = workspace.dactivation if sae.needs_derivative else None
        return DenseFeatures.of(
            sae, self.pre[saes], self.active[saes], grad_chunk=workspace.grad_chunk[saes],
            dactivation=None if dactivation is None else dactivation[saes, : self.n_rows],
        )  # fmt: skip

    def sparse(self, saes: slice) -> SparseFeatures:
        encoder = self.encoder
        return SparseFeatures.of(encoder.sae, self.pre[saes], self.active[saes], self.fires[saes], encoder.products)


def count_rows(mask: Tensor) -> Tensor:
    """Count the rows in which each feature is set: bool [n, rows, d_sae] → int64 [n, d_sae]."""
    parts = torch.split(mask.view(torch.uint8), COUNTED_ROWS, dim=1)
    return torch.stack([torch.sum(part, dim=1, dtype=torch.uint8) for part in parts]).sum(dim=0)
