"""Dictionaries, against plain NumPy on every pair and made-up ones whose features are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from analyze.measure import dictionary
from analyze.measure.dictionary import COSINE_EDGES, Thresholds, cosine_histogram, kinds, matched_cosines, nearest
from tests.helpers.fixture_types import Command, LocalStore
from train import load_sae

ALL_LIVE = torch.ones(60, dtype=torch.bool)


@pytest.fixture(autouse=True)
def several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dictionary, "BLOCK", 16)


@pytest.fixture
def W() -> torch.Tensor:
    return torch.randn(60, 8, generator=torch.Generator().manual_seed(0))


def test_pillars_corrections_and_directions_follow_their_definitions() -> None:
    W = torch.eye(12, 20)
    W[1] = 3.0 * W[0] + 0.1 * W[2]  # a longer near-duplicate of 0
    W[3] *= 0.3  # a correction
    W[4] = 1.2 * torch.eye(12, 20)[5]  # like 5, but as long as it
    W[6] = -2 * torch.eye(12, 20)[7]  # opposite
    live = torch.ones(12, dtype=torch.bool)
    live[8] = False
    W[8] = 5 * W[9]
    of_kind = kinds(W, live, Thresholds(pillars=2))
    assert of_kind.pillars.tolist() == [1, 6]
    assert of_kind.corrections.tolist() == [3]
    assert of_kind.directions.tolist() == [0, 1]
    assert of_kind.overlaps() == {
        "pillars and corrections": 0,
        "pillars and directions": 1,
        "corrections and directions": 0,
    }


def test_feature_kinds_follow_the_given_thresholds(W: torch.Tensor) -> None:
    norms = W.norm(dim=1)
    by_kind = kinds(
        W, ALL_LIVE, Thresholds(pillars=7, correction_norm=2.5, direction_cosine=0.5, direction_norm_ratio=1)
    )
    assert set(by_kind.pillars.tolist()) == set(torch.topk(norms, 7).indices.tolist())
    assert by_kind.corrections.tolist() == torch.nonzero(norms < 2.5)[:, 0].tolist()
    cosines = 1 - cdist(W.numpy(), W.numpy(), "cosine")
    np.fill_diagonal(cosines, -1)
    assert by_kind.directions.tolist() == np.flatnonzero((cosines >= 0.5).any(axis=1)).tolist()


def test_cosine_histogram_counts_each_pair_of_live_features_once(W: torch.Tensor) -> None:
    live = ALL_LIVE.clone()
    live[[3, 17]] = False
    pairs = (1 - cdist(W[live].numpy(), W[live].numpy(), "cosine"))[np.triu_indices(58, k=1)]
    counts = cosine_histogram(W, live)
    assert counts.sum() == 58 * 57 // 2
    expected = np.histogram(pairs, bins=COSINE_EDGES)[0]
    assert np.abs(counts - expected).sum() <= 2  # float32 may put one on an edge's other side


def test_sampled_pairs_are_distinct_and_distributed_as_all_pairs(W: torch.Tensor) -> None:
    sample = dictionary.sampled_cosines(W, ALL_LIVE, 200_000, seed=1)
    cosines = 1 - cdist(W.numpy(), W.numpy(), "cosine")
    pairs = cosines[np.triu_indices(60, k=1)]
    assert float(sample.max()) < pairs.max() + 1e-5
    assert np.quantile(sample.numpy(), [0.1, 0.5, 0.9]) == pytest.approx(np.quantile(pairs, [0.1, 0.5, 0.9]), abs=0.01)
    assert len(dictionary.sampled_cosines(W, ALL_LIVE & False, 100)) == 0
    exact, sampled = (dictionary.cosine_histogram(W, ALL_LIVE, exact_up_to=n) for n in (60, 59))
    assert exact.sum() == len(pairs)
    assert sampled.sum() == 1_000_000
    assert np.cumsum(sampled) / 1e6 == pytest.approx(np.cumsum(exact) / len(pairs), abs=0.005)


def test_nearest_neighbours_are_the_live_features_of_largest_cosine(W: torch.Tensor) -> None:
    live = ALL_LIVE.clone()
    live[5] = False
    near, values = nearest(W, live, n=3)
    cosines = 1 - cdist(W.numpy(), W.numpy(), "cosine")
    np.fill_diagonal(cosines, -2)
    cosines[:, 5] = -2
    for i in (0, 20, 59):
        order = np.argsort(-cosines[i])[:3]
        assert near[i].tolist() == order.tolist()
        assert values[i].numpy() == pytest.approx(cosines[i][order], abs=1e-6)
    assert near[5].tolist() == [-1, -1, -1]


def test_a_permuted_dictionary_matches_itself_and_a_random_one_does_not(W: torch.Tensor) -> None:
    order = torch.randperm(60, generator=torch.Generator().manual_seed(2))
    assert matched_cosines(W, 3 * W[order]) == pytest.approx(np.ones(60), abs=1e-6)
    other = torch.randn(50, 8, generator=torch.Generator().manual_seed(3))
    cosines = matched_cosines(W, other)
    assert len(cosines) == 50
    assert 0.3 < cosines.mean() < 0.95


def test_analyze_dictionary_describes_the_dictionary_of_each_run(
    small_runs: tuple[LocalStore, Path], command: Command, tmp_path: Path
) -> None:
    store, runs = small_runs
    arguments = ("analyze", "dictionary", "--store", store.path, runs, "--device", "cpu", "--pillars", "5")
    done = command(*arguments, "--json", "--out", tmp_path / "d")
    assert done.returncode == 0, done.stderr
    output = json.loads(done.stdout)
    assert [(line["run"], line["hook"]) for line in output["dictionary"]] == [
        (run, hook) for hook in store.hooks for run in ("baseline", "nsae")
    ]
    for line in output["dictionary"]:
        W = load_sae(runs / line["run"], hook=line["hook"]).W_dec
        assert line["live"] + line["dead"] == len(W) == 64
        assert line["norm_max"] <= float(W.norm(dim=1).max()) + 1e-6
        assert line["pillars"] == 5
        histogram = {h["of"]: 0 for h in output["histograms"]}
        for h in output["histograms"]:
            if (h["run"], h["hook"]) == (line["run"], line["hook"]):
                histogram[h["of"]] += h["count"]
        assert histogram["norms of live features"] == line["live"]
        assert histogram["cosines of live pairs"] == line["live"] * (line["live"] - 1) // 2
        assert histogram["cosines of pillars"] == 10
        if line["run"] == "baseline":
            assert line["norm_median"] == pytest.approx(1, abs=1e-5)
    assert (tmp_path / "d" / "histograms.csv").read_text().count("\n") == 1 + len(output["histograms"])
    assert len(command(*arguments).stdout.splitlines()) == 2 + 4
