"""Measures without the language model, against NumPy in float64, scikit-learn and SciPy."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import cosine
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from analyze.measure.positions import position_bins, subsets
from analyze.measure.row_sums import RowSums, row_columns
from data import open_store
from tests.helpers.fixture_types import Command, LocalStore, MakeStore, TrainSmall
from train import load_sae
from train.measures import HELD_OUT
from train.normalisation.units import InputUnits

Floats = NDArray[Any]
WIDTHS = {"blocks.0.hook_mlp_out": 16, "blocks.1.hook_mlp_out": 16}


def test_held_out_measures_equal_sklearn_and_scipy() -> None:
    rng = np.random.default_rng(0)
    x, x_hat = rng.normal(size=(200, 7)) + 3, rng.normal(size=(200, 7)) * 0.3
    x_hat += 0.8 * x
    c = np.where(rng.random((200, 30)) < 0.2, rng.random((200, 30)), 0.0)
    units = InputUnits(torch.tensor([[2.0]]), ())
    columns = row_columns(torch.from_numpy(x), torch.from_numpy(c), torch.from_numpy(x_hat), units)
    measures = RowSums.of_columns(columns.numpy().sum(axis=0), x.sum(axis=0), x_hat.sum(axis=0), 1 / 7).measures()
    norm, norm_out = np.linalg.norm(x, axis=1), np.linalg.norm(x_hat, axis=1)
    explained_at_best_factor = LinearRegression().fit(*centred_entries(x_hat, x)).score(*centred_entries(x_hat, x))
    mean_moved = x_hat - x_hat.mean(axis=0) + x.mean(axis=0)
    expected = {
        "l0": np.count_nonzero(c) / 200,
        "l1": np.abs(c).sum() / 200,
        "l2": np.mean((x - x_hat) ** 2),
        "explained_variance": r2_score(x, x_hat, multioutput="variance_weighted"),
        "suppression": norm_out.sum() / norm.sum(),
        "suppression_floor": np.sqrt(1 - np.mean((x - x_hat) ** 2) / np.mean(x**2)),
        "suppression_excess": np.mean(norm_out - [u @ v / np.linalg.norm(v) for u, v in zip(x, x_hat, strict=True)])
        / norm.mean(),
        "gamma_centred": np.trace(np.cov(x_hat.T)) / np.trace(np.cov(x.T, x_hat.T)[:7, 7:]),
        "shrinkage_cost": explained_at_best_factor - r2_score(x, mean_moved, multioutput="variance_weighted"),
        "offset_cost": r2_score(x, mean_moved, multioutput="variance_weighted")
        - r2_score(x, x_hat, multioutput="variance_weighted"),
        "suppression_mean": np.mean(norm_out / norm),
        "gamma": np.einsum("ij,ij->", x_hat, x_hat) / np.einsum("ij,ij->", x_hat, x),
        "l1_over_norm": c.sum() / (norm_out / 2).sum(),
        "cosine": np.mean([1 - cosine(a, b) for a, b in zip(x, x_hat, strict=True)]),
    }
    assert list(measures) == list(HELD_OUT)
    for name, value in expected.items():
        assert measures[name] == pytest.approx(value, rel=1e-12), name


def centred_entries(x_hat: Floats, x: Floats) -> tuple[Floats, Floats]:
    """The entries of x̂ − μ̂, [n, 1], and of x − μ, [n]."""
    return (x_hat - x_hat.mean(axis=0)).reshape(-1, 1), (x - x.mean(axis=0)).ravel()


def measures_of(x: Floats, x_hat: Floats) -> dict[str, Floats]:
    columns = row_columns(torch.from_numpy(x), torch.zeros(len(x), 4), torch.from_numpy(x_hat)).numpy().sum(axis=0)
    wide, wide_hat = (rows.astype(np.float64) for rows in (x, x_hat))
    return RowSums.of_columns(columns, wide.sum(axis=0), wide_hat.sum(axis=0), 1).measures()


@pytest.mark.parametrize("quality", [0.1, 0.5, 0.9])
def test_unshrunk_reconstructions_are_at_the_floor_of_suppression_at_any_quality(quality: float) -> None:
    x, error = np.random.default_rng(0).normal(size=(2, 300, 7)) + 2
    direction = x + error / quality
    x_hat = direction * (direction * x).sum(axis=1, keepdims=True) / np.square(direction).sum(axis=1, keepdims=True)
    measures = measures_of(x, x_hat)  # ⟨x̂, x⟩ = ‖x̂‖² in each row, so γ = 1
    ratio, cosine = (np.sqrt(np.square(x_hat).sum() / np.square(x).sum()), (x_hat * x).sum())
    cosine /= np.sqrt(np.square(x_hat).sum() * np.square(x).sum())
    assert measures["gamma"] == pytest.approx(1, rel=1e-12)
    assert measures["suppression_floor"] == pytest.approx(ratio, rel=1e-12)
    assert measures["suppression_floor"] == pytest.approx(cosine, rel=1e-12)
    assert measures["suppression_floor"] < 0.99
    assert measures["suppression_excess"] == pytest.approx(0, abs=1e-12)
    assert measures_of(x, 0.97 * x_hat)["suppression_excess"] == pytest.approx(
        -0.03 * measures["suppression"], rel=1e-9
    )


def test_a_mean_added_to_the_activations_lifts_suppression_and_leaves_the_centred_gamma() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 7))
    x_hat = 0.8 * x + 0.2 * rng.normal(size=x.shape)
    mean = np.full(7, 3.0)
    plain, shifted = measures_of(x, x_hat), measures_of(x + mean, x_hat + mean)
    assert shifted["suppression"] > plain["suppression"] + 0.1
    assert shifted["gamma"] > plain["gamma"] + 0.05
    for name in ("gamma_centred", "shrinkage_cost", "offset_cost", "explained_variance"):
        assert shifted[name] == pytest.approx(plain[name], rel=1e-9), name


def test_unexplained_variance_is_the_offset_and_shrinkage_and_the_error_of_direction() -> None:
    x = np.random.default_rng(2).normal(size=(300, 7))
    x_hat = 0.7 * x + 0.3 * np.roll(x, 1, axis=1) + 0.2
    measures = measures_of(x, x_hat)
    correlation = np.corrcoef(np.stack([entries.ravel() for entries in centred_entries(x_hat, x)]))[0, 1]
    costs = measures["offset_cost"] + measures["shrinkage_cost"]
    assert costs > 0.01
    assert 1 - measures["explained_variance"] == pytest.approx(costs + 1 - correlation**2, rel=1e-9)


def test_measures_of_a_constant_reconstruction_have_no_centred_gamma() -> None:
    x = np.random.default_rng(3).normal(size=(50, 7))
    measures = measures_of(x, np.ones_like(x))
    assert np.isnan([measures["gamma_centred"], measures["shrinkage_cost"]]).all()
    assert np.isfinite([measures["offset_cost"], measures["suppression_excess"]]).all()
    assert measures_of(x, np.zeros_like(x))["suppression_excess"] == 0


@pytest.mark.parametrize("n", [1, 2, 500])
def test_held_out_explained_variance_of_constant_rows_is_nan(n: int) -> None:
    x = np.tile(np.random.default_rng(0).normal(size=7).astype(np.float32) * 1e3, (n, 1))
    assert np.isnan(measures_of(x, 0.9 * x)["explained_variance"])
    x[-1, 0] *= 1.001  # a little variance is enough, of two rows
    variance = measures_of(x, 0.9 * x)["explained_variance"]
    wide = x.astype(np.float64)
    expected = np.nan if n == 1 else 1 - np.square(wide - 0.9 * x).sum() / np.square(wide - wide.mean(axis=0)).sum()
    assert variance == pytest.approx(expected, rel=1e-3, nan_ok=True)


@given(st.integers(1, 600))
def test_position_bins_cover_each_position_once_and_subsets_add_up(n: int) -> None:
    bins = position_bins(n)
    assert [p for _, begin, end in bins for p in range(begin, end)] == list(range(n))
    per_bin = np.arange(2.0 * len(bins)).reshape(2, -1, 1)
    by_subset = subsets(per_bin, bins, axis=1)
    assert np.array_equal(by_subset["all"], per_bin.sum(axis=1))
    assert np.array_equal(by_subset["without 0"] + by_subset["0"], by_subset["all"])


@pytest.fixture(scope="module")
def measured(small_runs: tuple[LocalStore, Path], command: Command) -> tuple[Path, Path, dict[str, Any]]:
    """(store, runs, output of `analyze measures` in JSON)."""
    store, runs = small_runs
    done = command("analyze", "measures", "--store", store.path, runs, "--json", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    return store.path, runs, json.loads(done.stdout)


def test_analyze_measures_equals_a_computation_over_all_held_out_rows(
    measured: tuple[Path, Path, dict[str, Any]],
) -> None:
    path, runs, measures = measured
    store = open_store(path)
    hook = "blocks.1.hook_mlp_out"
    x = np.concatenate([store.rows(hook, shard) for shard in store.shards("heldout")]).astype(np.float64)
    position = np.concatenate([store.origin(shard)[1] for shard in store.shards("heldout")])
    sae = load_sae(runs / "baseline", hook=hook).double()
    x_hat = sae(torch.from_numpy(x)).detach().numpy()
    lines = {(li["run"], li["hook"], li["subset"], li["measure"]): li for li in measures["measures"] if not li["noise"]}
    assert measures["rows"] == len(x) == 640
    assert (measures["unit"], measures["groups"], measures["longest_document"]) == ("document", 10, None)
    assert measures["effective_groups"] == pytest.approx(10)
    of_hook = [f for f in measures["features"] if (f["run"], f["hook"]) == ("baseline", hook)]
    for subset, kept in (("all", position >= 0), ("without 0", position > 0), ("0", position == 0)):
        line = lines["baseline", hook, subset, "explained_variance"]
        assert line["value"] == pytest.approx(r2_score(x[kept], x_hat[kept], multioutput="variance_weighted"), abs=1e-5)
        assert line["low"] <= line["value"] <= line["high"]
        features = next(f for f in of_hook if f["subset"] == subset)
        active = sae.encode(torch.from_numpy(x[kept])) > 0
        fires = active.sum(dim=0)
        assert features["rows"] == kept.sum()
        assert features["dead"] == pytest.approx(float((fires == 0).double().mean()))
        assert sum(features["density_features"]) == int((fires > 0).sum())
        assert features["batch"] == 128  # no shard here has 4096 rows
        batch_of = np.arange(len(x))[kept] // 128
        silent = [int((~active[torch.from_numpy(batch_of == n)].any(dim=0)).sum()) for n in range(5)]
        assert features["silent"] == np.mean(silent)


def test_nsae_is_measured_with_and_without_reproducible_noise(
    measured: tuple[Path, Path, dict[str, Any]], command: Command
) -> None:
    path, runs, measures = measured
    kinds = {(line["run"], line["noise"]) for line in measures["measures"]}
    assert kinds == {("baseline", False), ("nsae", False), ("nsae", True)}
    l0 = {li["noise"]: li["value"] for li in measures["measures"] if li["run"] == "nsae" and li["measure"] == "l0"}
    assert l0[True] != l0[False]
    again = command("analyze", "measures", "--store", path, runs, "--csv", "--device", "cpu")
    read = list(csv.DictReader(io.StringIO(again.stdout)))
    values = [float(row["value"]) if row["value"] else None for row in read]
    assert values == [line["value"] for line in measures["measures"]]


def test_run_trained_without_noise_is_measured_without_noise(
    make_store: MakeStore, train_small: TrainSmall, command: Command
) -> None:
    store, _, _ = make_store(n_contexts=80, n_heldout=20, widths=WIDTHS)
    runs = train_small(store, "--variant", "nsae", "--sigma", "0,1")
    done = command("analyze", "measures", "--store", store.path, runs, "--json", "--device", "cpu")
    kinds = {(line["run"], line["noise"]) for line in json.loads(done.stdout)["measures"]}
    assert kinds == {("nsae_sigma=0", False), ("nsae_sigma=1", False), ("nsae_sigma=1", True)}


def test_measures_tables_have_a_line_per_sae_and_noise(
    measured: tuple[Path, Path, dict[str, Any]], command: Command
) -> None:
    path, runs, _ = measured
    table = command("analyze", "measures", "--store", path, runs, "--device", "cpu").stdout.splitlines()
    assert "| dead in 640 rows |" in table[0]
    apart = table.index("Suppression, taken apart")
    assert apart == 2 + 2 * 3 + 1
    assert len(table) - apart == 2 + 2 + 2 * 3 + 2
    assert all("[" in table[first] for first in (2, apart + 4))
    assert table[-1] == "Intervals are over 10 documents, which are as informative as 10.0 of equal length."


def test_measures_refuse_runs_of_another_store(
    measured: tuple[Path, Path, dict[str, Any]], make_store: MakeStore, command: Command
) -> None:
    _, runs, _ = measured
    other, _, _ = make_store(n_contexts=80, n_heldout=20, widths=WIDTHS, name="other.zarr", seed=5)
    done = command("analyze", "measures", "--store", other.path, runs)
    assert done.returncode == 2
    assert "was trained on another store than" in done.stderr
