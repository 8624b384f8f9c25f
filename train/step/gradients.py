"""The gradients of a stack's loss, written out rather than left to autograd, to save memory and passes over it.

With r = x̂ − x in the SAE's own scale, w the weight of a squared entry (loss.py) and B the rows of the batch,
L = 1/B Σ (w ‖r‖² + β ‖c‖₁), so

    ∂L/∂x̂ = 2 w r / B              ∂L/∂W_dec = cᵀ ∂L/∂x̂                 ∂L/∂c = ∂L/∂x̂ W_decᵀ + β/B
    ∂L/∂pre = activation′ · ∂L/∂c   ∂L/∂W_enc = (∂L/∂pre)ᵀ (x − b_dec)    ∂L/∂b_enc = Σ ∂L/∂pre
    ∂L/∂b_dec = Σ ∂L/∂x̂ − ∂L/∂b_enc W_enc                                 (the encoder sees x − b_dec)

Rows are independent, so the batch is processed in blocks of rows, and only one block's features are in memory. Products
are computed in the workspace's dtype (bfloat16 on a GPU); parameters, gradients and sums stay float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from train.sae import Gradients
from train.sae.batch_split import BatchSplit
from train.step.encode import Encoder
from train.step.features import EncodedBlock, Features, features_by_density
from train.step.noise import BatchNoise
from train.step.workspace import ComputeWeights, slices


@dataclass
class Forward:
    """The forward pass of n SAEs over B rows.

    l1 [n, B]: ‖c‖₁ of each row. residual [n, B, d_model]: x̂ − x in the SAEs' own scale. fires int64 [n, d_sae]: the
    number of rows in which each feature is active; fires_without_noise: the same, noise off.
    """

    l1: Tensor
    residual: Tensor
    fires: Tensor
    fires_without_noise: Tensor

    @classmethod
    def allocate(cls, x: Tensor, d_sae: int, *, noise: bool) -> Forward:
        """Return counts of 0, and memory for the rest, for x [n, B, d_model]."""
        fires = torch.zeros(len(x), d_sae, dtype=torch.int64, device=x.device)
        without_noise = torch.zeros_like(fires) if noise else fires
        return cls(torch.empty_like(x[..., 0]), torch.empty_like(x), fires, without_noise)

    def count(self, block: EncodedBlock) -> None:
        """Add a block's counts."""
        self.fires.add_(block.fires)
        if self.fires_without_noise is not self.fires:
            self.fires_without_noise.add_(block.fires_without_noise)

    def total_fires(self, split: BatchSplit) -> tuple[Tensor, Tensor]:
        """Return `fires` and `fires_without_noise` of the whole batch."""
        fires = split.sum(self.fires)
        same = self.fires_without_noise is self.fires
        return fires, fires if same else split.sum(self.fires_without_noise)

    def decode(self, c: Features, W_dec: Tensor, inner: Tensor, *, saes: slice, rows: slice) -> Tensor:
        """Fill in ‖c‖₁ and x̂ − x of some SAEs and rows; return x̂ − x, which is c W_dec − (x − b_dec)."""
        self.l1[saes, rows] = c.l1()
        return torch.sub(c.decode(W_dec), inner[saes, rows], out=self.residual[saes, rows])


@torch.no_grad()
def forward(encoder: Encoder, x: Tensor, noise: BatchNoise | None) -> Forward:
    """Encode and decode x [n, B, d_model], the scaled inputs of a stack; x is overwritten."""
    sae, workspace = encoder.sae, encoder.workspace
    result = Forward.allocate(x, sae.d_sae, noise=noise is not None)
    weights = ComputeWeights.of(sae, workspace.compute)
    inner = x.sub_(sae.b_dec[:, None])
    for rows in slices(x.shape[1], workspace.n_rows):
        block_inner = inner[:, rows].to(workspace.compute)
        block = encoder.encode(weights, block_inner, noise, rows)
        result.count(block)
        for saes, c in features_by_density(block, workspace.max_sparse_density):
            result.decode(c, weights.W_dec[saes], inner, saes=saes, rows=rows)
    return result


@torch.no_grad()
def gradients(
    encoder: Encoder, x: Tensor, beta: Tensor, noise: BatchNoise | None, *, l2_weight: float, out: Gradients,
    batch_size: int | None = None,
) -> Forward:  # fmt: skip
    """Fill `out` with the gradients of the mean loss of each SAE of a stack, and return its forward pass.

    x float32 [n, rows, d_model]: the normalised inputs; overwritten. beta [n, 1] or [n, rows]: the sparsity
    coefficient. l2_weight: w. batch_size: B, if x is a part of the batch; the parts' gradients then add up.
    """
    sae, workspace, n_rows = encoder.sae, encoder.workspace, x.shape[1]
    batch_size = batch_size or n_rows
    result = Forward.allocate(x, sae.d_sae, noise=noise is not None)
    weights = ComputeWeights.of(sae, workspace.compute)
    inner = x.sub_(sae.b_dec[:, None])
    dl1 = beta.expand(-1, n_rows) / batch_size
    out.b_dec.zero_()
    out.b_enc.zero_()
    for rows in slices(n_rows, workspace.n_rows):
        block_inner, first = inner[:, rows].to(workspace.compute), not rows.start
        block = encoder.encode(weights, block_inner, noise, rows)
        result.count(block)
        for saes, c in features_by_density(block, workspace.max_sparse_density):
            residual = result.decode(c, weights.W_dec[saes], inner, saes=saes, rows=rows)
            dx_hat = residual * (2 * l2_weight / batch_size)
            out.b_dec[saes] += dx_hat.sum(dim=1)
            dx_hat = dx_hat.to(workspace.compute)
            c.add_outer_(out.W_dec[saes], dx_hat, first=first)
            dpre = c.backward_(dx_hat, weights.W_dec[saes], dl1[saes, rows])
            dpre.add_outer_(out.W_enc[saes], block_inner[saes], first=first)
            dpre.add_sum_(out.b_enc[saes])
    out.b_dec.sub_((out.b_enc[:, None] @ sae.W_enc)[:, 0])
    return result
