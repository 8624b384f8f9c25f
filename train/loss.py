"""The loss of a row: w ‖x̂ − x‖² + β ‖c‖₁, in the scale that the SAE sees. An SAE's loss is the mean over the batch.

The post writes the squared error as a sum over d_model (w = 1) and β = α · (mean ‖x‖₂)ᵖ. gradients.py has the
gradients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import torch
from torch import Tensor

from train.sae.batch_split import WHOLE, BatchSplit

L2 = Literal["mean", "sum"]
Norm = Literal["batch", "store", "sample"]
Terms = Mapping[str, Tensor]  # the terms of each row's loss by name: [n, batch] each


@dataclass(frozen=True)
class Objective:
    """The choices in the loss that all runs of an experiment share.

    l2: the squared error is a mean over d_model (the author's code, to which Table A1's coefficients belong) or a sum
    (the post). norm: the norm in β = α · norm ** l1_power is the batch's mean ‖x‖₂ (the post), its mean over the
    store's training split, or each sample's own (the post's future work).
    """

    l2: L2 = "mean"
    norm: Norm = "batch"

    def l2_weight(self, d_model: int) -> float:
        """Return w, the weight of one entry's squared error."""
        return 1 / d_model if self.l2 == "mean" else 1.0

    def coefficient(
        self, alpha: Tensor, power: Tensor, norms: Tensor, store_norm: Tensor, split: BatchSplit = WHOLE
    ) -> Tensor:
        """Return β [n, 1], or [n, batch] with `norm="sample"`.

        alpha, power, store_norm [n]; norms: ‖x‖₂ of the rows [n, batch], or of a part of them, if the batch is split.
        """
        if self.norm == "batch":
            scale = split.mean(norms, dim=-1)[:, None]
        elif self.norm == "store":
            scale = store_norm[:, None]
        else:
            scale = norms
        return alpha[:, None] * torch.pow(scale, power[:, None])

    def terms(self, l1: Tensor, beta: Tensor, residual: Tensor) -> Terms:
        """Return the terms of each row's loss from l1 [n, batch], β, and x̂ − x [n, batch, d_model]."""
        squared_error = torch.linalg.vector_norm(residual, dim=-1).square()
        return {"l2": self.l2_weight(residual.shape[-1]) * squared_error, "l1": beta * l1}


def total(terms: Terms) -> Tensor:
    """Return the loss of each row, [n, batch], the sum of its terms."""
    return reduce(torch.add, terms.values())
