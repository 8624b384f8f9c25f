"""Feature activations as whole matrices, and their products; see features.py."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from train.sae import SAE

COUNTED_ROWS = 255  # at once: as many as a byte can count, which PyTorch sums ten times as fast as wider numbers


@dataclass(frozen=True)
class DenseFeatures:
    """c [k, rows, d_sae], where it is above 0 (bool), and memory for some features' gradient."""

    c: Tensor
    active: Tensor
    piece: Tensor

    @classmethod
    def of(cls, sae: SAE, pre: Tensor, active: Tensor, piece: Tensor) -> DenseFeatures:
        """From gated pre-activations, which are overwritten, and where they are above 0."""
        return cls(sae.activate(pre, out=pre), active, piece)

    def l1(self) -> Tensor:
        return self.c.sum(dim=-1, dtype=torch.promote_types(self.c.dtype, torch.float32))

    def fires(self) -> Tensor:
        return count_rows(self.active)

    def decode(self, W_dec: Tensor) -> Tensor:
        return torch.bmm(self.c, W_dec)

    def add_outer_(self, total: Tensor, rows: Tensor, *, first: bool) -> None:
        if self.c.dtype == total.dtype:
            total.baddbmm_(self.c.mT, rows, beta=0 if first else 1)
        else:
            (total.copy_ if first else total.add_)(torch.bmm(self.c.mT, rows))

    def add_sum_(self, total: Tensor) -> None:
        total.add_(self.c.sum(dim=1, dtype=total.dtype))

    def backward(self, sae: SAE, outer: Tensor, W_dec: Tensor, sparsity: Tensor) -> DenseFeatures:
        size = self.piece.shape[-1]
        for c, W in zip(torch.split(self.c, size, dim=-1), torch.split(W_dec, size, dim=1), strict=True):
            room = self.piece[:, : c.shape[1], : c.shape[2]]
            sae.activation_backward(torch.baddbmm(sparsity[..., None], outer, W.mT, out=room), c, out=c)
        return self


def count_rows(mask: Tensor) -> Tensor:
    """In how many rows each feature is set, of a mask, bool [k, rows, d_sae]: int64 [k, d_sae]."""
    bits = torch.split(mask.view(torch.uint8), COUNTED_ROWS, dim=1)
    return torch.stack([torch.sum(rows, dim=1, dtype=torch.uint8) for rows in bits]).sum(dim=0)
