"""Sums over rows of training batches, and the measures that they give (train/measures.py)."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from train.loss import Terms
from train.measures import NO_VARIANCE, TRAINING, compute, term_measure
from train.sae.batch_split import BatchSplit

SUMMED_ROWS = 256  # rows of x summed at once: a float64 sum makes a float64 copy of them


@dataclass(frozen=True)
class Sums:
    """Sums over `rows` rows for n SAEs; float64 [n] where no other shape is given. Sums of two batches add up."""

    l2_weight: float  # of one entry's squared error in L2: 1/d_model, or 1
    rows: int
    fires: Tensor  # rows in which each feature fired: int64 [n, d_sae]
    l1: Tensor
    loss: Tensor
    squared_error: Tensor  # ‖x − x̂‖²
    x: Tensor  # [n, d_model]
    square: Tensor  # ‖x‖²
    norm: Tensor  # ‖x‖
    norm_out: Tensor  # ‖x̂‖
    ratio: Tensor  # ‖x̂‖/‖x‖
    dot: Tensor  # ⟨x̂, x⟩
    square_out: Tensor  # ‖x̂‖²
    terms: Terms  # of the loss, by name

    def __add__(self, other: Sums) -> Sums:
        summed = (field.name for field in fields(self) if field.name not in ("l2_weight", "terms"))
        none, names = torch.zeros_like(self.loss), dict.fromkeys((*self.terms, *other.terms))
        terms = {name: self.terms.get(name, none) + other.terms.get(name, none) for name in names}
        sums = {name: getattr(self, name) + getattr(other, name) for name in summed}
        return Sums(self.l2_weight, **sums, terms=terms)

    @classmethod
    def of_batch(
        cls, x: Tensor, reconstruction: Tensor, *, l1: Tensor, fires: Tensor, loss: Tensor, l2_weight: float,
        terms: Terms,
    ) -> Sums:  # fmt: skip
        """Sum over one batch.

        x, reconstruction: float32 [n, batch, d_model] in the store's scale. l1, loss, and each of terms: [n, batch].
        fires: int64 [n, d_sae].
        """
        norm, norm_out = (torch.linalg.vector_norm(t, dim=-1).double() for t in (x, reconstruction))
        parts = torch.split(x, SUMMED_ROWS, dim=1)
        return cls(
            l2_weight,
            rows=x.shape[1],
            fires=fires,
            l1=_total(l1),
            loss=_total(loss),
            squared_error=_total(torch.linalg.vector_norm(x - reconstruction, dim=-1).double().square()),
            x=torch.stack([part.sum(dim=1, dtype=torch.float64) for part in parts]).sum(dim=0),
            square=torch.stack([part.double().square().sum(dim=(1, 2)) for part in parts]).sum(dim=0),
            norm=norm.sum(-1),
            norm_out=norm_out.sum(-1),
            ratio=torch.where(norm > 0, norm_out / norm, 1.0).sum(-1),
            dot=_total(torch.einsum("nbd,nbd->nb", x, reconstruction)),
            square_out=norm_out.square().sum(-1),
            terms={name: _total(values) for name, values in terms.items()},
        )

    def summed(self, split: BatchSplit) -> Sums:
        """Return the sums over the whole batch from those of its parts."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        sums = {name: value.clone() for name, value in values if isinstance(value, Tensor)}
        terms = {name: term.clone() for name, term in self.terms.items()}
        split.sum_(*sums.values(), *terms.values())
        return Sums(self.l2_weight, split.batch_rows(self.rows), **sums, terms=terms)

    def measures(self) -> dict[str, Tensor]:
        """Return the measures by name, and the mean terms of the loss: float64 [n] each; NaN where one is undefined."""
        terms = {term_measure(name): sums / self.rows for name, sums in self.terms.items()}
        return {**compute(TRAINING.values(), self), **terms}

    @property
    def l0(self) -> Tensor:
        return self.fires.sum(-1).double()

    @property
    def silent(self) -> Tensor:
        """Count of features that fired in none of the rows."""
        return (self.fires == 0).sum(-1).double()

    @property
    def variance(self) -> Tensor:
        """Σ‖x − μ‖²; NaN where it is 0 up to rounding."""
        centred = self.square - self.x.square().sum(-1) / self.rows
        return torch.where(centred > NO_VARIANCE * self.square, centred, torch.nan)


def _total(values: Tensor) -> Tensor:
    """Sum over the rows of values [n, batch], in float64."""
    return values.sum(dim=1, dtype=torch.float64)
