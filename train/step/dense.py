"""Feature activations as whole matrices, and their products; sparse.py is the other form (see features.py)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from train.sae import ElementwiseSAE
from train.step.workspace import slices


@dataclass(frozen=True)
class DenseFeatures:
    """c [k, rows, d_sae], in the workspace, and the memory for its gradient.

    dactivation: ∂c/∂pre, if c does not determine it (`SAE.needs_derivative`). grad_chunk [k, rows, chunk]: memory for
    ∂L/∂c of `chunk` features at a time, since it is needed only in passing.
    """

    sae: ElementwiseSAE
    c: Tensor
    dactivation: Tensor | None
    grad_chunk: Tensor

    @classmethod
    def of(
        cls, sae: ElementwiseSAE, pre: Tensor, active: Tensor, *, grad_chunk: Tensor, dactivation: Tensor | None
    ) -> DenseFeatures:
        """Activate gated pre-activations in place; `active` tells where they are above 0.

        ∂c/∂pre is written into `dactivation`, if given.
        """
        if dactivation is not None:
            sae.derivative(pre, dactivation).mul_(active)
        return cls(sae, sae.activate(pre, out=pre), dactivation, grad_chunk)

    def l1(self) -> Tensor:
        return self.c.sum(dim=-1, dtype=torch.promote_types(self.c.dtype, torch.float32))

    def decode(self, W_dec: Tensor) -> Tensor:
        return product(self.c, W_dec)

    def add_outer_(self, total: Tensor, rows: Tensor, *, first: bool) -> None:
        add_product_(total, self.c.mT, rows, first=first)

    def backward_(self, dx_hat: Tensor, W_dec: Tensor, dl1: Tensor) -> DenseGradient:
        """∂L/∂c = ∂L/∂x̂ W_decᵀ + ∂L/∂‖c‖₁, then times ∂c/∂pre, written over c."""
        for features in slices(self.c.shape[-1], self.grad_chunk.shape[-1]):
            c = self.c[..., features]
            dc = self.grad_chunk[:, : c.shape[1], : c.shape[2]]
            torch.baddbmm(dl1[..., None].to(dc.dtype), dx_hat, W_dec[:, features].mT, out=dc)
            if self.dactivation is None:
                self.sae.activation_backward(dc, c, out=c)
            else:
                torch.mul(dc, self.dactivation[..., features], out=c)
        return DenseGradient(self.c)


@dataclass(frozen=True)
class DenseGradient:
    """∂L/∂pre as a matrix: [k, rows, d_sae]."""

    values: Tensor

    def add_outer_(self, total: Tensor, rows: Tensor, *, first: bool) -> None:
        add_product_(total, self.values.mT, rows, first=first)

    def add_sum_(self, total: Tensor) -> None:
        total.add_(self.values.sum(dim=1, dtype=total.dtype))


def product(a: Tensor, b: Tensor) -> Tensor:
    """Return a b, of stacks of matrices. On a GPU, products of bfloat16 are summed and returned in float32."""
    if a.is_cuda and a.dtype == torch.bfloat16:
        return torch.bmm(a, b, out_dtype=torch.float32)
    return torch.bmm(a, b)


def add_product_(total: Tensor, a: Tensor, b: Tensor, *, first: bool) -> None:
    """Add a b to `total`, or if `first` write it there."""
    if a.dtype == total.dtype:
        total.baddbmm_(a, b, beta=0 if first else 1)
    elif a.is_cuda and first:
        torch.bmm(a, b, out_dtype=total.dtype, out=total)
    else:
        (total.copy_ if first else total.add_)(product(a, b))
