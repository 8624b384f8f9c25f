"""The loss: β‖c‖₁ + L2, averaged over the batch, and where β takes the inputs' norm from.

Pure arithmetic. Not here: gradients (step.py), what else is measured (train/measures.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

L2 = Literal["mean", "sum"]
Norm = Literal["batch", "store", "sample"]


@dataclass(frozen=True)
class Objective:
    """What the loss is made of, the same for all runs of an experiment.

    l2: the squared error is a mean over d_model (as in the author's code; Table A1's coefficients belong to it), or
    the sum that the post writes. norm: β = α · norm ** l1_power, of the batch's mean ‖x‖₂ (the post), of the mean over
    the store's training split, or of each sample's own norm (the post's future work).
    """

    l2: L2 = "mean"
    norm: Norm = "batch"

    def l2_weight(self, d_model: int) -> float:
        """What one entry's squared error counts."""
        return 1 / d_model if self.l2 == "mean" else 1.0

    def coefficient(self, alpha: Tensor, power: Tensor, norms: Tensor, store_norm: Tensor) -> Tensor:
        """β: alpha, power, store_norm [n] and norms ‖x‖₂ [n, batch] → [n, 1], or [n, batch] for `sample`."""
        if self.norm == "batch":
            scale = norms.mean(dim=-1, keepdim=True)
        elif self.norm == "store":
            scale = store_norm[:, None]
        else:
            scale = norms
        return alpha[:, None] * torch.pow(scale, power[:, None])

    def rows(self, l1: Tensor, beta: Tensor, residual: Tensor) -> Tensor:
        """The loss of each row: l1 [n, batch], beta [n, 1] or [n, batch], residual x̂ − x [n, batch, d_model]."""
        return beta * l1 + self.l2_weight(residual.shape[-1]) * torch.linalg.vector_norm(residual, dim=-1).square()
