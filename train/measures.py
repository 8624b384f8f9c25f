"""What is measured of SAEs on rows of activations: sums that add up over batches, and the measures they give.

All are per SAE, of a stack of n; sums are float64. Definitions:

    l0                    mean count of c ≠ 0
    l1                    mean ‖c‖₁
    l2                    mean ‖x − x̂‖²/d_model, or the sum over d_model (objective.py)
    loss                  mean loss as trained: with its β, and in the scale that the SAE sees
    explained_variance    1 − Σ‖x − x̂‖² / Σ‖x − μ‖², μ the mean of the same rows; NaN where these rows do not vary
    suppression           Σ‖x̂‖ / Σ‖x‖, a ratio of sums (the author's code)
    suppression_mean      mean of ‖x̂‖/‖x‖ (the post, Fig. 6)
    gamma                 Σ‖x̂‖² / Σ⟨x̂, x⟩: 1 is unbiased, less is shrunk (SAEBench's relative reconstruction bias)
    silent                features that fired in none of the rows

Not here: intervals, layers compared, dead features over a window (features.py).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from train.loss import Objective

SUMMED_ROWS = 256  # of x at once, of which a sum in float64 makes a copy
NO_VARIANCE = 1e-12  # Σ‖x − μ‖² up to this share of Σ‖x‖² is rounding: the rows are all the same, or one


@dataclass(frozen=True)
class Sums:
    """Sums over `rows` rows for n SAEs: float64 [n] each, but x [n, d_model], and fires int64 [n, d_sae]."""

    rows: int
    fires: Tensor
    l1: Tensor
    loss: Tensor
    squared_error: Tensor  # ‖x − x̂‖²
    x: Tensor
    square: Tensor  # ‖x‖²
    norm: Tensor  # ‖x‖
    norm_out: Tensor  # ‖x̂‖
    ratio: Tensor  # ‖x̂‖/‖x‖
    dot: Tensor  # ⟨x̂, x⟩
    square_out: Tensor  # ‖x̂‖²

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


def sums(x: Tensor, reconstruction: Tensor, *, l1: Tensor, fires: Tensor, loss: Tensor) -> Sums:
    """x and x̂ [n, batch, d_model] in the store's scale; l1 and loss [n, batch]; fires int64 [n, d_sae]."""
    norm, norm_out = (torch.linalg.vector_norm(t, dim=-1).double() for t in (x, reconstruction))
    return Sums(
        rows=x.shape[1],
        fires=fires,
        l1=_total(l1),
        loss=_total(loss),
        squared_error=_total(torch.linalg.vector_norm(x - reconstruction, dim=-1).double().square()),
        x=torch.stack([rows.sum(dim=1, dtype=torch.float64) for rows in torch.split(x, SUMMED_ROWS, dim=1)]).sum(dim=0),
        square=torch.stack([r.double().square().sum(dim=(1, 2)) for r in torch.split(x, SUMMED_ROWS, dim=1)]).sum(
            dim=0
        ),
        norm=norm.sum(-1),
        norm_out=norm_out.sum(-1),
        ratio=torch.where(norm > 0, norm_out / norm, 1.0).sum(-1),
        dot=_total(torch.einsum("nbd,nbd->nb", x, reconstruction)),
        square_out=norm_out.square().sum(-1),
    )


def measures(s: Sums, objective: Objective) -> dict[str, Tensor]:
    """The measures by name, float64 [n] each; NaN where one is undefined."""
    d_model = s.x.shape[-1]
    l2 = s.squared_error * objective.l2_weight(d_model) / s.rows
    centred = s.square - s.x.square().sum(-1) / s.rows
    return {
        "loss": s.loss / s.rows,
        "l0": s.fires.sum(-1).double() / s.rows,
        "l1": s.l1 / s.rows,
        "l2": l2,
        "explained_variance": torch.where(centred > NO_VARIANCE * s.square, 1 - s.squared_error / centred, torch.nan),
        "suppression": s.norm_out / s.norm,
        "suppression_mean": s.ratio / s.rows,
        "gamma": s.square_out / s.dot,
        "silent": (s.fires == 0).sum(-1).double(),
    }


def _total(values: Tensor) -> Tensor:
    """Σ over the rows of values [n, batch], in float64."""
    return values.sum(dim=1, dtype=torch.float64)
