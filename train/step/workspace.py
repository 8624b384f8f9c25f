"""Memory that a step reuses for a block of rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

BatchNoise = Callable[[slice], Tensor]
# Variants that the GPU's kernels know: c is the activation of pre-activations plus σε, ReLU, or here tanh(ReLU).
FUSED = {"baseline": False, "nsae": True}


@dataclass(frozen=True)
class StepWorkspace:
    """Reused memory for a block of rows, [n, rows, d_sae] each: c, of the type computed in, and where c > 0.

    ∂L/∂c is needed only in passing, so that there is room for some features' alone: `piece` [n, rows, fewer features].
    `slope` is memory for ∂c/∂pre, where the type computed in is too coarse to tell it from c (SAE.needs_derivative).
    Noise is asked for `noise_rows` rows at a time. Up to a share of `max_sparse_density` active pairs a block's
    products are done on them alone (0: never). If `fused`, the GPU's kernels encode; they need neither `active` nor
    `piece`.
    """

    c: Tensor
    active: Tensor
    piece: Tensor
    slope: Tensor | None
    noise_rows: int
    max_sparse_density: float
    fused: bool

    @classmethod
    def allocate(
        cls, n: int, rows: int, d_sae: int, *, grad_chunk_features: int, noise_rows: int, max_sparse_density: float,
        compute: torch.dtype, device: torch.device, keep_derivative: bool = False, fused: bool = False,
    ) -> StepWorkspace:  # fmt: skip
        c, active, piece, slope = (
            torch.empty(n, rows, features, dtype=dtype, device=device)
            for features, dtype in (
                (d_sae, compute), (0 if fused else d_sae, torch.bool), (0 if fused else grad_chunk_features, compute),
                (d_sae if keep_derivative else 0, compute),
            )
        )  # fmt: skip
        return cls(c, active, piece, slope if keep_derivative else None, noise_rows, max_sparse_density, fused)

    @property
    def n_rows(self) -> int:
        return self.c.shape[1]

    def narrow(self, n: int) -> StepWorkspace:
        """The first n SAEs' part of the same memory."""
        slope = None if self.slope is None else self.slope[:n]
        return replace(self, c=self.c[:n], active=self.active[:n], piece=self.piece[:n], slope=slope)
