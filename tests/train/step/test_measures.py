"""Measures against NumPy in float64, over batches of unequal size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from train.loss import L2, Objective
from train.sums import Sums


@pytest.mark.parametrize("l2", ["mean", "sum"])
def test_training_measures_summed_over_batches_equal_numpy_over_all_rows(l2: L2) -> None:
    rng = np.random.default_rng(0)
    n, d, m = 2, 5, 11
    x = rng.normal(size=(n, 90, d)) + 3
    c = np.maximum(rng.normal(size=(n, 90, m)), 0) * (rng.random((n, 1, m)) < 0.8)
    x_hat = x * 0.8 + rng.normal(size=x.shape) / 4
    loss = rng.random((n, 90))
    terms = {"l2": rng.random((n, 90)), "aux": rng.random((n, 90)) * (np.arange(90) >= 40)}  # none in the first batch
    parts = [
        Sums.of_batch(
            *(torch.from_numpy(a[:, rows]) for a in (x, x_hat)),
            l1=torch.from_numpy(c[:, rows].sum(-1)),
            fires=torch.from_numpy((c[:, rows] > 0).sum(1)),
            loss=torch.from_numpy(loss[:, rows]),
            l2_weight=Objective(l2).l2_weight(d),
            terms={
                name: torch.from_numpy(values[:, rows]) for name, values in terms.items() if rows.start or name == "l2"
            },
        )
        for rows in (slice(0, 40), slice(40, 41), slice(41, 90))
    ]
    measures = (parts[0] + parts[1] + parts[2]).measures()
    norm, norm_hat = np.linalg.norm(x, axis=2), np.linalg.norm(x_hat, axis=2)
    error = ((x - x_hat) ** 2).sum(2)
    expected = {
        "loss": loss.mean(1),
        "l0": (c != 0).sum(2).mean(1),
        "l1": np.abs(c).sum(2).mean(1),
        "l2": error.mean(1) / (d if l2 == "mean" else 1),
        "explained_variance": 1 - error.sum(1) / ((x - x.mean(1, keepdims=True)) ** 2).sum((1, 2)),
        "suppression": norm_hat.sum(1) / norm.sum(1),
        "suppression_mean": (norm_hat / norm).mean(1),
        "gamma": (norm_hat**2).sum(1) / (x * x_hat).sum((1, 2)),
        "silent": (c.sum(1) == 0).sum(1),
        "loss_l2": terms["l2"].mean(1),
        "loss_aux": terms["aux"].mean(1),
    }
    assert set(measures) == set(expected)
    for name, values in expected.items():
        assert measures[name].numpy() == pytest.approx(values, rel=1e-10), name


@pytest.mark.parametrize("rows", [1, 2, 300])
def test_training_explained_variance_of_constant_rows_is_nan(rows: int) -> None:
    x = torch.randn(1, 1, 7, generator=torch.Generator().manual_seed(0)).mul(1e3).expand(2, rows, 7).clone()
    x[1, -1, 0] *= 1.001  # a little variance is enough, of two rows
    none = torch.zeros(2, rows)
    measures = Sums.of_batch(
        x, 0.9 * x, l1=none, fires=torch.zeros(2, 3), loss=none, l2_weight=1 / 7, terms={}
    ).measures()
    wide = x[1].double()
    expected = 1 - (wide - 0.9 * x[1]).square().sum() / (wide - wide.mean(dim=0)).square().sum()
    explained = measures["explained_variance"].tolist()
    assert explained == pytest.approx([np.nan, np.nan if rows == 1 else float(expected)], rel=1e-3, nan_ok=True)
    assert measures["l2"].isfinite().all()
