"""What is measured of an SAE on activations without the language model: sums over rows, and the measures they give.

    l0, l1                mean count of c ≠ 0; mean ‖c‖₁
    l2                    mean ‖x − x̂‖² / d_model (times d_model, where the run's loss has the sum)
    explained_variance    1 − Σ‖x − x̂‖² / Σ‖x − μ‖², μ the mean of the same rows; NaN where these rows do not vary
    suppression           Σ‖x̂‖ / Σ‖x‖, a ratio of sums; suppression_mean: the mean of ‖x̂‖/‖x‖
    gamma                 Σ‖x̂‖² / Σ⟨x̂, x⟩: 1 is unbiased, less is shrunk
    l1_over_norm          Σ‖c‖₁ / Σ‖x̂‖₂, x̂ as the SAE sees it (before `input_scale` is put back)
    cosine                mean of cos(x, x̂)

Pure arithmetic. Not here: reading rows (heldout.py), going over runs (evaluate.py), intervals (bootstrap.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analyze.statistics.bootstrap import Float
from data.store.stats import Subset
from train.measures import NO_VARIANCE

COLUMNS = ("rows", "l0", "l1", "squared_error", "square", "norm", "norm_out", "ratio", "dot", "square_out",
           "norm_out_seen", "cosine")  # fmt: skip
MEASURES = ("l0", "l1", "l2", "explained_variance", "suppression", "suppression_mean", "gamma", "l1_over_norm",
            "cosine")  # fmt: skip


def row_columns(x: Tensor, c: Tensor, reconstruction: Tensor, input_scale: float = 1.0) -> Tensor:
    """One line of COLUMNS for each row: x and x̂ float32 [n, d_model], c [n, d_sae] → float64 [n, columns].

    Where x or x̂ is zero, the ratio of their norms counts as 1 and their cosine as 0.
    """
    wide, out = x.double(), reconstruction.double()
    norm, norm_out = wide.norm(dim=1), out.norm(dim=1)
    dot = (wide * out).sum(dim=1)
    product = norm * norm_out
    columns = {
        "rows": torch.ones_like(norm),
        "l0": (c != 0).sum(dim=1).double(),
        "l1": c.abs().sum(dim=1, dtype=torch.float64),
        "squared_error": (wide - out).square().sum(dim=1),
        "square": norm.square(),
        "norm": norm,
        "norm_out": norm_out,
        "ratio": torch.where(norm > 0, norm_out / norm, 1.0),
        "dot": dot,
        "square_out": norm_out.square(),
        "norm_out_seen": norm_out / input_scale,
        "cosine": torch.where(product > 0, dot / product, 0.0),
    }
    return torch.stack([columns[name] for name in COLUMNS], dim=1)


def measures(sums: Float, x_sum: Float, *, l2_weight: float) -> dict[str, Float]:
    """The measures by name, [...] each, of sums of COLUMNS [..., columns] and of x [..., d_model].

    l2_weight is what one entry's squared error counts: 1/d_model, or 1. NaN where a measure is undefined, as all are
    without rows.
    """
    s = dict(zip(COLUMNS, np.moveaxis(sums, -1, 0), strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        centred = s["square"] - np.square(x_sum).sum(axis=-1) / s["rows"]
        return {
            "l0": s["l0"] / s["rows"],
            "l1": s["l1"] / s["rows"],
            "l2": s["squared_error"] * l2_weight / s["rows"],
            "explained_variance": np.where(
                centred > NO_VARIANCE * s["square"], 1 - s["squared_error"] / centred, np.nan
            ),
            "suppression": s["norm_out"] / s["norm"],
            "suppression_mean": s["ratio"] / s["rows"],
            "gamma": s["square_out"] / s["dot"],
            "l1_over_norm": s["l1"] / s["norm_out_seen"],
            "cosine": s["cosine"] / s["rows"],
        }


def position_bins(n_positions: int) -> list[tuple[str, int, int]]:
    """Subsets of positions: (name, first, end) of 0, 1, 2–3, 4–7, … up to the context's size."""
    edges = [0, 1]
    while edges[-1] < n_positions:
        edges.append(min(2 * edges[-1], n_positions))
    return [(str(a) if b == a + 1 else f"{a}–{b - 1}", a, b) for a, b in pairwise(edges)]


Number = TypeVar("Number", np.int64, np.float64)


def subsets(by_bin: NDArray[Number], bins: list[tuple[str, int, int]], axis: int) -> Mapping[str, NDArray[Number]]:
    """Sums by bin of positions, along `axis`, to sums by subset: all rows, those not at position 0, and each bin."""
    first = [i for i, (_, begin, _) in enumerate(bins) if begin == 0]
    every = by_bin.sum(axis=axis)
    without_first = every - by_bin.take(first, axis=axis).sum(axis=axis)
    by_subset = {Subset.ALL.value: every, Subset.WITHOUT_FIRST.value: without_first}
    return by_subset | {name: by_bin.take(i, axis=axis) for i, (name, _, _) in enumerate(bins)}


def density_histogram(fires: NDArray[np.int64], n_rows: int) -> tuple[Float, NDArray[np.int64]]:
    """log₁₀ of the share of rows in which features fire: edges [bins + 1] from −7 to 0, and features [bins].

    Features that never fired are in none.
    """
    edges = np.arange(-7.0, 0.01, 0.25)
    live = fires[fires > 0] / n_rows
    return edges, np.histogram(np.log10(live), bins=edges)[0]
