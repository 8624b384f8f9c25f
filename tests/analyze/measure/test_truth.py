"""Measures that compare SAEs with a store's truth, against NumPy and SciPy in float64."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.metrics import f1_score

from analyze import evaluate
from analyze.measure.heldout import Heldout
from analyze.measure.truth import TruthCounts, TruthSums, match
from analyze.report.pages.measures import columns
from analyze.runs.trained_run import TrainedRun, find_runs
from data import Store, SyntheticFeatures, open_store, synthetic_source, write_store
from tests.helpers.fixture_types import Command, LocalStore
from tests.helpers.made_once import made_once
from train import load_sae
from train.architectures import architecture_of
from train.measures import TRUTH, Shown
from train.sae import SAE

FEATURES = SyntheticFeatures(n_features=40, d_model=16, n_roots=2, p_max=0.2)
HOOKS = ["blocks.0.synthetic", "blocks.1.synthetic"]


def compared(W_dec: np.ndarray, directions: np.ndarray, fires: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """The measures by this project's code. fires, truth: bool [rows, features]."""
    wide, true = torch.from_numpy(W_dec), torch.from_numpy(directions)
    counts = TruthCounts(match(wide, true))
    for rows in np.array_split(np.arange(len(fires)), 3):
        counts.add(torch.from_numpy(fires[rows]), torch.from_numpy(truth[rows]))
    of = (torch.from_numpy(indicator.sum(axis=0)) for indicator in (fires, truth))
    sums = counts.sums(wide, true, *of)
    assert TruthSums.of_array(sums.array()) == sums
    return sums.measures()


def expected(W_dec: np.ndarray, directions: np.ndarray, fires: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """The same measures from their definitions: the matching by trying all, F1 by scikit-learn."""
    cosines = 1 - cdist(W_dec.astype(np.float64), directions.astype(np.float64), "cosine")
    live = np.asarray(fires.any(axis=0))
    n, m = cosines.shape
    if n <= m:
        matchings = [list(zip(range(n), order, strict=True)) for order in permutations(range(m), n)]
    else:
        matchings = [list(zip(order, range(m), strict=True)) for order in permutations(range(n), m)]
    best = max(matchings, key=lambda pairs: sum(abs(cosines[pair]) for pair in pairs))
    f1 = [[f1_score(truth[:, j], fires[:, i], zero_division=0.0) for j in range(m)] for i in range(n)]
    return {
        "recovered": np.mean([(cosines[live, j] >= 0.9).any() for j in range(m)]),
        "false_features": np.mean([(cosines[i] < 0.9).all() for i in np.flatnonzero(live)]),
        "max_cosine": np.mean([max(cosines[live, j].max(), 0) for j in range(m)]),
        "mcc": np.mean([abs(cosines[pair]) for pair in best]),
        "f1": np.mean([f1[i][np.abs(cosines[i]).argmax()] for i in range(n)]),
        "f1_matched": np.mean([f1[i][j] for i, j in best]),
        "l0_over_true": fires.sum() / truth.sum(),
    }


@pytest.mark.parametrize(("d_sae", "n_features"), [(4, 7), (7, 4), (6, 6)])
def test_truth_measures_equal_their_definitions(d_sae: int, n_features: int) -> None:
    rng = np.random.default_rng(d_sae)
    directions = rng.normal(size=(n_features, 5)).astype(np.float32)
    W_dec = (rng.normal(size=(d_sae, 5)) * 3).astype(np.float32)
    W_dec[0], W_dec[1], W_dec[2] = 2 * directions[1], -directions[2], directions[1] + 0.3 * directions[0]
    truth = rng.random((200, n_features)) < 0.3
    fires = rng.random((200, d_sae)) < 0.2
    fires[:, 0] = truth[:, 1] & (rng.random(200) < 0.8)
    fires[:, 3] = False  # dead
    measures = compared(W_dec, directions, fires, truth)
    assert list(measures) == list(TRUTH)
    assert measures == pytest.approx(expected(W_dec, directions, fires, truth), rel=1e-6)


def test_an_sae_without_a_live_feature_recovers_nothing() -> None:
    eye, truth = np.eye(3, dtype=np.float32), np.ones((5, 3), dtype=bool)
    measures = compared(eye, eye, np.zeros((5, 3), dtype=bool), truth)
    assert np.isnan(measures.pop("false_features"))
    assert measures == {"recovered": 0, "max_cosine": 0, "mcc": 1, "f1": 0, "f1_matched": 0, "l0_over_true": 0}


def test_a_random_decoder_that_fires_at_random_scores_its_null() -> None:
    rng = np.random.default_rng(0)
    directions, W_dec = (rng.normal(size=(300, 64)).astype(np.float32) for _ in "12")
    truth, fires = (rng.random((4000, 300)) < p for p in (0.05, 0.1))
    measures = compared(W_dec, directions, fires, truth)
    cosines = np.abs(1 - cdist(W_dec, directions, "cosine"))
    assert measures["recovered"] == 0
    assert measures["false_features"] == 1
    assert measures["f1"] == pytest.approx(2 * 0.05 * 0.1 / (0.05 + 0.1), rel=0.05)
    assert measures["f1_matched"] == pytest.approx(measures["f1"], rel=0.05)
    assert cosines.mean() < measures["mcc"] <= cosines.max(axis=1).mean()
    assert measures["l0_over_true"] == pytest.approx(2, rel=0.02)


@pytest.fixture(scope="module")
def trained(command: Command, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(synthetic store, runs): a TopK SAE and an NSAE of two scales. Nothing may be written there."""

    def train(folder: Path) -> None:
        source = synthetic_source(FEATURES, rows=4000, heldout=700, scales=(1, 10))
        store = write_store(folder / "made.zarr", source)
        done = command(
            "train", "--store", store.path, "--variant", "topk,nsae", "--k", "3", "--lr", "3e-3", "--expansion", "3",
            "--batch-size", "128", "--activations", "4k", "--validate-every", "4k", "--log-every", "2k",
            "--snapshots", "0", "--device", "cpu", "--out", folder / "runs",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    folder = made_once(tmp_path_factory, "synthetic-runs", train)
    return folder / "made.zarr", folder / "runs"


def test_analyze_measures_compares_with_the_truth_of_a_synthetic_store(
    trained: tuple[Path, Path], command: Command
) -> None:
    path, runs = trained
    done = command("analyze", "measures", "--store", path, runs, "--json", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    lines = {(li["run"], li["hook"], li["noise"], li["measure"]): li for li in json.loads(done.stdout)["measures"]}
    store = open_store(path)
    assert store.truth is not None
    for hook in HOOKS:
        rows = np.concatenate([store.origin(shard)[0] for shard in store.shards("heldout")])
        x = np.concatenate([store.rows(hook, shard) for shard in store.shards("heldout")])
        sae = load_sae(runs / "topk", hook=hook)
        fires = (sae.encode(torch.from_numpy(x).float()) > 0).numpy()
        directions = FEATURES.directions.numpy()
        measures = compared(sae.W_dec.numpy(), directions, fires, store.truth.fires(rows.astype(np.int64)))
        for name, value in measures.items():
            line = lines["topk", hook, False, name]
            assert line["value"] == pytest.approx(value, rel=1e-6), name
            assert line["low"] is None
        truth = store.truth.fires(rows.astype(np.int64))
        nearest = np.abs(1 - cdist(sae.W_dec.numpy(), directions, "cosine")).argmax(axis=1)
        f1 = [f1_score(truth[:, j], fires[:, i], zero_division=0.0) for i, j in enumerate(nearest)]
        assert lines["topk", hook, False, "f1"]["value"] == pytest.approx(np.mean(f1), rel=1e-6)
    assert lines["nsae", HOOKS[0], False, "f1"]["value"] != lines["nsae", HOOKS[0], True, "f1"]["value"]


def test_tables_show_truth_measures_only_where_a_store_has_a_truth(
    trained: tuple[Path, Path], small_runs: tuple[LocalStore, Path], command: Command
) -> None:
    titles = [measure.title for measure in TRUTH.values() if measure.name != "max_cosine"]
    made, plain = (
        command("analyze", "measures", "--store", store, runs, "--contexts", "20", "--device", "cpu").stdout
        for store, runs in (trained, (small_runs[0].path, small_runs[1]))
    )
    assert all(f"| {title} |" in made.splitlines()[0] for title in titles)
    assert not any(f"| {title} |" in plain.splitlines()[0] for title in titles)
    measured = evaluate(*small_runs, contexts=5).measures
    assert not {row.measure for row in measured} & TRUTH.keys()
    in_report = columns(evaluate(*trained, contexts=5).measures, Shown.TABLES)
    assert [title for title in in_report.values() if title in titles] == titles


class KnownRun(TrainedRun):
    """A run whose SAE has the true features, and fires where they do: they are orthogonal."""

    def sae(self, hook: str, device: torch.device | str = "cpu") -> SAE:
        kind = architecture_of("jumprelu")
        sae = kind(d_model=16, d_sae=16, settings=kind.Settings())
        sae.W_enc.copy_(DIRECTIONS)
        sae.W_dec.copy_(DIRECTIONS)
        sae.get_parameter("threshold").fill_(0.1)
        return sae


DIRECTIONS = torch.from_numpy(np.linalg.qr(np.random.default_rng(0).normal(size=(16, 16)))[0]).float()


class OrthogonalFeatures(SyntheticFeatures):
    directions = DIRECTIONS


@pytest.fixture
def orthogonal_store(tmp_path: Path) -> Store:
    features = OrthogonalFeatures(n_features=16, d_model=16, n_roots=2, depth=1, offset=0.0)
    return write_store(tmp_path / "made.zarr", synthetic_source(features, rows=64, heldout=300), dtype="float32")


@pytest.mark.parametrize("contexts", [None, 77])
def test_the_sae_whose_decoder_is_the_truth_scores_1(
    orthogonal_store: Store, trained: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, contexts: int | None
) -> None:
    run = find_runs([trained[1] / "topk"])[0]
    run = KnownRun(**vars(run))
    monkeypatch.setattr("analyze.measure.evaluate.check_store", lambda runs, store: None)
    monkeypatch.setattr(TrainedRun, "hooks", property(lambda self: HOOKS[:1]))
    result = evaluate(orthogonal_store, [run], contexts=contexts)
    values = {name: result.value(name, run.name, HOOKS[0]).value for name in TRUTH}
    live = float(result.activity[0].all.live.double().mean())  # a rare feature may fire in none of the rows
    assert contexts is not None or live == 1
    ones, shares = dict.fromkeys(("mcc", "l0_over_true"), 1), dict.fromkeys(("recovered", "f1", "f1_matched"), live)
    assert values == pytest.approx({**ones, **shares, "max_cosine": values["max_cosine"], "false_features": 0})
    assert values["max_cosine"] == pytest.approx(1) or live < 1
    assert result.value("explained_variance", run.name, HOOKS[0]).value > 0.999


def test_row_numbers_are_those_of_the_store_where_contexts_and_positions_are_left_out(tmp_path: Path) -> None:
    source = replace(synthetic_source(FEATURES, rows=60, heldout=40), context_size=7, skip_positions=2, n_contexts=20,
                     n_heldout=8, documents=None)  # fmt: skip
    store = write_store(tmp_path / "made.zarr", source, dtype="float32")
    heldout = Heldout(store, 5)
    batches = list(heldout.rows("blocks.0.synthetic", batch_size=16))
    numbers = np.concatenate([heldout.row_numbers(rows) for rows in batches])
    made = synthetic_source(FEATURES, rows=60, heldout=40).batches
    in_order = np.concatenate([batch["blocks.0.synthetic"] for batch in made])
    assert np.array_equal(np.concatenate([rows.x for rows in batches]), in_order[numbers])
    assert len(set(numbers)) == 25
