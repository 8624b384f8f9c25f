"""Matryoshka BatchTopK (Bussmann et al. 2025, arXiv 2503.17547): nested prefixes of the features reconstruct x too.

loss = mean over the prefixes of ‖x − x̂_prefix‖² + a · aux,   x̂_prefix = Σ of cᵢ dᵢ over the prefix's features + b_dec
"""

from __future__ import annotations

import torch
from torch import Tensor

from train.architectures.batchtopk import BatchTopKSAE
from train.sae.entries import Entries
from train.variants import MatryoshkaSettings


class MatryoshkaSAE(BatchTopKSAE):
    """A Matryoshka BatchTopK SAE. `SAE` has the shapes."""

    variant = "matryoshka"
    Settings = MatryoshkaSettings
    settings: MatryoshkaSettings

    def prefix_ends(self) -> list[int]:
        """Return the number of features in each nested prefix, ascending; the last has all."""
        return self.settings.prefix_ends(self.d_sae)

    def reconstruction_terms(self, active: Entries, c: Tensor, x: Tensor, x_hat: Tensor) -> dict[str, Tensor]:
        ends = self.prefix_ends()
        partial, begin, errors = self.b_dec.expand_as(x), 0, []
        for end in ends[:-1]:
            inside, values = active.among(c, begin, end)
            partial, begin = partial + inside.decode(values, self.W_dec), end
            errors.append((x - partial).square().sum(dim=-1))
        errors.append((x - x_hat).square().sum(dim=-1))
        total = torch.stack(errors).sum(dim=0)
        return {"l2": total / len(ends) ** {"sum": 0, "mean": 1, "mean-of-shares": 2}[self.settings.prefix_loss]}
