"""The memory that steps reuse for a block of rows, and a stack's weights in the type that products are computed in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from train.sae import ElementwiseSAE


@dataclass(frozen=True)
class StepWorkspace:
    """Memory for a block of rows of n SAEs, of the compute dtype where nothing else is said.

    c [n, rows, d_sae]: holds the pre-activations, then c, then ∂L/∂pre.
    active bool [n, rows, d_sae]: where c > 0.
    grad_chunk [n, rows, fewer features]: ∂L/∂c of some features at a time.
    dactivation [n, rows, d_sae] or None: ∂c/∂pre, for architectures that need it in bfloat16 (`SAE.needs_derivative`).
    noise_rows: the rows for which noise is drawn at a time.
    max_sparse_density: a block uses sparse products up to this fraction of active (row, feature) pairs; 0: never.
    fused: the GPU's kernels encode, so `active` and `grad_chunk` are empty.
    """

    c: Tensor
    active: Tensor
    grad_chunk: Tensor
    dactivation: Tensor | None
    noise_rows: int
    max_sparse_density: float
    fused: bool

    @classmethod
    def allocate(
        cls, n: int, rows: int, d_sae: int, *, grad_chunk_features: int, noise_rows: int, max_sparse_density: float,
        compute: torch.dtype, device: torch.device, keep_derivative: bool = False, fused: bool = False,
    ) -> StepWorkspace:  # fmt: skip
        def empty(features: int, dtype: torch.dtype) -> Tensor:
            return torch.empty(n, rows, features, dtype=dtype, device=device)

        return cls(
            c=empty(d_sae, compute),
            active=empty(0 if fused else d_sae, torch.bool),
            grad_chunk=empty(0 if fused else grad_chunk_features, compute),
            dactivation=empty(d_sae, compute) if keep_derivative else None,
            noise_rows=noise_rows,
            max_sparse_density=max_sparse_density,
            fused=fused,
        )

    @property
    def n_rows(self) -> int:
        """Rows of a block."""
        return self.c.shape[1]

    @property
    def compute(self) -> torch.dtype:
        """The type that products are computed in."""
        return self.c.dtype

    def narrow(self, n: int) -> StepWorkspace:
        """Return the part of the first n SAEs, which shares this memory."""
        dactivation = None if self.dactivation is None else self.dactivation[:n]
        return replace(
            self, c=self.c[:n], active=self.active[:n], grad_chunk=self.grad_chunk[:n], dactivation=dactivation
        )


@dataclass(frozen=True)
class ComputeWeights:
    """A stack's weights in the compute dtype: W_enc, W_dec [n, d_sae, d_model] and b_enc [n, 1, d_sae]."""

    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor

    @classmethod
    def of(cls, sae: ElementwiseSAE, compute: torch.dtype) -> ComputeWeights:
        return cls(sae.W_enc.to(compute), sae.b_enc[:, None].to(compute), sae.W_dec.to(compute))


def slices(n: int, size: int) -> Iterator[slice]:
    """Split 0 … n into slices of `size`; the last may be shorter."""
    return (slice(begin, min(begin + size, n)) for begin in range(0, n, size))
