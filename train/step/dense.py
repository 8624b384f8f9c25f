"""Feature activations as whole matrices, and their products; see features.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from train.sae import SAE

COUNTED_ROWS = 255  # at once: as many as a byte can count, which PyTorch sums ten times as fast as wider numbers


@dataclass(frozen=True)
class DenseFeatures:
    """c [k, rows, d_sae]; ∂c/∂pre, where c does not tell it; and memory for some features' gradient."""

    c: Tensor
    slope: Tensor | None
    piece: Tensor

    @classmethod
    def of(cls, sae: SAE, pre: Tensor, active: Tensor, piece: Tensor, room: Tensor | None) -> DenseFeatures:
        """From gated pre-activations, which are overwritten, and where they are above 0.

        Of activations that saturate the slope is kept in `room`, where there is any.
        """
        slope = None if room is None or not sae.needs_derivative else sae.derivative(pre, room).mul_(active)
        return cls(sae.activate(pre, out=pre), slope, piece)

    def l1(self) -> Tensor:
        return self.c.sum(dim=-1, dtype=torch.promote_types(self.c.dtype, torch.float32))

    def decode(self, W_dec: Tensor) -> Tensor:
        return product(self.c, W_dec)

    def add_outer_(self, total: Tensor, rows: Tensor, *, first: bool) -> None:
        add_product_(total, self.c.mT, rows, first=first)

    def add_sum_(self, total: Tensor) -> None:
        total.add_(self.c.sum(dim=1, dtype=total.dtype))

    def backward(self, sae: SAE, outer: Tensor, W_dec: Tensor, sparsity: Tensor) -> DenseFeatures:
        for features in slices(self.c.shape[-1], self.piece.shape[-1]):
            c = self.c[..., features]
            room = self.piece[:, : c.shape[1], : c.shape[2]]
            gradient = torch.baddbmm(sparsity[..., None].to(room.dtype), outer, W_dec[:, features].mT, out=room)
            if self.slope is None:
                sae.activation_backward(gradient, c, out=c)
            else:
                torch.mul(gradient, self.slope[..., features], out=c)
        return self


def product(a: Tensor, b: Tensor) -> Tensor:
    """a b, of stacks of matrices; on a GPU in float32, as which it is summed."""
    if a.is_cuda and a.dtype == torch.bfloat16:
        return torch.bmm(a, b, out_dtype=torch.float32)
    return torch.bmm(a, b)


def add_product_(total: Tensor, a: Tensor, b: Tensor, *, first: bool) -> None:
    """total += a b, or if `first`, total = a b."""
    if a.dtype == total.dtype:
        total.baddbmm_(a, b, beta=0 if first else 1)
    elif a.is_cuda and first:
        torch.bmm(a, b, out_dtype=total.dtype, out=total)
    else:
        (total.copy_ if first else total.add_)(product(a, b))


def slices(n: int, size: int) -> Iterator[slice]:
    """Of n things, so many at a time."""
    return (slice(begin, min(begin + size, n)) for begin in range(0, n, size))


def count_rows(mask: Tensor) -> Tensor:
    """In how many rows each feature is set, of a mask, bool [k, rows, d_sae]: int64 [k, d_sae]."""
    bits = torch.split(mask.view(torch.uint8), COUNTED_ROWS, dim=1)
    return torch.stack([torch.sum(rows, dim=1, dtype=torch.uint8) for rows in bits]).sum(dim=0)
