"""Feature activations as whole matrices, and their products; see features.py."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from train.sae import SAE

COUNTED_ROWS = 256  # at once, so that what a count allocates stays in the processor's cache


@dataclass(frozen=True)
class DenseFeatures:
    """c [k, rows, d_sae], where it is above 0 (bool), and memory for its gradient."""

    c: Tensor
    active: Tensor
    room: Tensor

    @classmethod
    def of(cls, sae: SAE, pre: Tensor, active: Tensor, room: Tensor) -> DenseFeatures:
        """From gated pre-activations, which are overwritten, and where they are above 0."""
        return cls(sae.activate(pre, out=pre), active, room)

    def l1(self) -> Tensor:
        return self.c.sum(dim=-1, dtype=torch.promote_types(self.c.dtype, torch.float32))

    def fires(self) -> Tensor:
        bits = torch.split(self.active.view(torch.uint8), COUNTED_ROWS, dim=1)
        return torch.stack([torch.sum(rows, dim=1, dtype=torch.int32) for rows in bits]).sum(dim=0)

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
        gradient = torch.baddbmm(sparsity[..., None], outer, W_dec.mT, out=self.room)
        return DenseFeatures(sae.activation_backward_(gradient, self.c), self.active, self.c)
