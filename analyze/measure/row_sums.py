"""Sums over held-out rows of one SAE, and the measures that they give (train/measures.py)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from analyze.statistics.jackknife import Float
from train.measures import HELD_OUT, NO_VARIANCE, Measure, compute
from train.normalisation.units import InputUnits


@dataclass(frozen=True)
class RowSums:
    """Sums over rows: float64 arrays of one shape."""

    rows: Float
    l0: Float
    l1: Float
    squared_error: Float  # ‖x − x̂‖²
    error_over_deviation: Float  # ‖x − x̂‖²/‖x − μ‖², where μ is the mean of the row's batch
    square: Float  # ‖x‖²
    norm: Float  # ‖x‖
    norm_out: Float  # ‖x̂‖
    ratio: Float  # ‖x̂‖/‖x‖
    dot: Float  # ⟨x̂, x⟩
    square_out: Float  # ‖x̂‖²
    norm_out_seen: Float  # ‖x̂‖ in the scale that the SAE sees
    norm_unshrunk: Float  # ⟨x̂, x⟩/‖x̂‖, the norm at which x̂ of this direction has γ = 1
    cosine: Float  # cos(x, x̂)
    x: Float  # of one axis more, [..., d_model]
    x_hat: Float  # of one axis more, [..., d_model]
    l2_weight: float  # of one entry's squared error in L2: 1/d_model, or 1

    @classmethod
    def of_columns(cls, sums: Float, x: Float, x_hat: Float, l2_weight: float) -> RowSums:
        """Name the columns of sums [..., COLUMNS]; x, x_hat: [..., d_model]."""
        by_name = dict(zip(COLUMNS, np.moveaxis(sums, -1, 0), strict=True))
        return cls(**by_name, x=x, x_hat=x_hat, l2_weight=l2_weight)

    @property
    def variance(self) -> Float:
        """Σ‖x − μ‖²; NaN where it is 0 up to rounding."""
        return _centred(self.square, self.x, self.rows)

    @property
    def variance_out(self) -> Float:
        """Σ‖x̂ − μ̂‖²; NaN where it is 0 up to rounding."""
        return _centred(self.square_out, self.x_hat, self.rows)

    @property
    def covariance(self) -> Float:
        """Σ⟨x̂ − μ̂, x − μ⟩; NaN where x or x̂ does not vary."""
        centred = self.dot - (self.x_hat * self.x).sum(axis=-1) / self.rows
        return np.where(np.isnan(self.variance + self.variance_out), np.nan, centred)

    @property
    def offset(self) -> Float:
        """Σ‖μ̂ − μ‖²."""
        return np.asarray(np.square(self.x_hat - self.x).sum(axis=-1) / self.rows)

    @property
    def d_model(self) -> int:
        return self.x.shape[-1]

    def measures(self, measures: Iterable[Measure] = HELD_OUT.values()) -> dict[str, Float]:
        """Return the measures by name, of the sums' shape; NaN where one is undefined, as all are without rows."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return compute(measures, self)


COLUMNS = tuple(field.name for field in fields(RowSums) if field.name not in ("x", "x_hat", "l2_weight"))
ROWS = COLUMNS.index("rows")


def _centred(square: Float, total: Float, rows: Float) -> Float:
    """Return Σ‖v − mean v‖² from Σ‖v‖² [...], Σv [..., d_model] and the count of rows; NaN if 0 up to rounding."""
    centred = square - np.square(total).sum(axis=-1) / rows
    return np.where(centred > NO_VARIANCE * square, centred, np.nan)


def row_columns(x: Tensor, c: Tensor, reconstruction: Tensor, units: InputUnits | None = None) -> Tensor:
    """Return each row's terms of the sums, in the order of COLUMNS: float64 [n, columns].

    x and x̂: float32 [n, d_model], the rows of a batch. c: [n, d_sae]. units: those in which the SAE sees rows; None: as
    they are.
    Where x or x̂ is zero, the ratio of their norms counts as 1, and ⟨x̂, x⟩/‖x̂‖ and their cosine as 0. Where x is the
    batch's mean, the error over the deviation is NaN.
    """
    wide, out = x.double(), reconstruction.double()
    norm, norm_out = wide.norm(dim=1), out.norm(dim=1)
    dot, squared_error = (wide * out).sum(dim=1), (wide - out).square().sum(dim=1)
    product, deviation = norm * norm_out, (wide - wide.mean(dim=0)).square().sum(dim=1)
    columns = {
        "rows": torch.ones_like(norm),
        "l0": (c != 0).sum(dim=1).double(),
        "l1": c.abs().sum(dim=1, dtype=torch.float64),
        "squared_error": squared_error,
        "error_over_deviation": torch.where(deviation > 0, squared_error / deviation, torch.nan),
        "square": norm.square(),
        "norm": norm,
        "norm_out": norm_out,
        "ratio": torch.where(norm > 0, norm_out / norm, 1.0),
        "dot": dot,
        "square_out": norm_out.square(),
        "norm_out_seen": norm_out if units is None else units.norms(out, norm_out),
        "norm_unshrunk": torch.where(norm_out > 0, dot / norm_out, 0.0),
        "cosine": torch.where(product > 0, dot / product, 0.0),
    }
    return torch.stack([columns[name] for name in COLUMNS], dim=1)
