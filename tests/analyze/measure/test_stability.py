"""The stability of features between two runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from analyze.measure.dictionary import matched_cosines
from analyze.measure.firing import FeatureActivity, HeldoutFireCounts
from analyze.measure.stability import excess, pairs_of_replicas, stability, unrelated
from analyze.runs.trained_run import find_runs
from tests.helpers.fixture_types import Command, MakeStore, TrainSmall
from tests.helpers.pages.feature_pages import index_of
from train import load_sae


def test_a_shuffled_and_rescaled_dictionary_matches_itself() -> None:
    rng = np.random.default_rng(0)
    W = torch.from_numpy(rng.normal(size=(40, 9))).float()
    other = W[torch.from_numpy(rng.permutation(40))] * torch.from_numpy(rng.uniform(0.1, 9, (40, 1))).float()
    assert matched_cosines(W, other) == pytest.approx(np.ones(40), abs=1e-6)


def test_runs_that_differ_only_in_the_seed_are_paired(demo_runs: tuple[Path, list[Path]]) -> None:
    pairs = pairs_of_replicas(find_runs(demo_runs[1]))
    assert pairs == {
        frozenset((f"nsae_l1={l1}_seed=0", f"nsae_l1={l1}_seed=1")) for l1 in ("1e-05", "0.0001")
    }  # fmt: skip


def test_analyze_stability_compares_every_two_runs(demo_runs: tuple[Path, list[Path]], command: Command) -> None:
    path, folders = demo_runs
    replicas = sorted(folders[1].glob("nsae_l1=1e-05*"))
    done = command("analyze", "stability", "--store", path, *replicas, "--layers", "4", "--json", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    (line,) = json.loads(done.stdout)["stability"]
    one, other = (load_sae(folder, layer=4).W_dec for folder in replicas)
    cosines = np.abs(np.nan_to_num(torch.nn.functional.normalize(one, dim=1) @ torch.nn.functional.normalize(other).mT))
    assert 0 < line["cosine_mean"] <= cosines.max() + 1e-6
    assert line["matched"] == min(line["live_first"], line["live_second"])
    assert line["share_0.9"] <= line["share_0.7"] <= 1
    table = command("analyze", "stability", "--store", path, *replicas, "--layers", "4", "--device", "cpu").stdout
    assert table.count("\n| blocks.4.hook_mlp_out") == 1


def test_dead_features_are_not_matched(demo_runs: tuple[Path, list[Path]]) -> None:
    run = find_runs(demo_runs[1])[0]
    some, others = torch.zeros(256, dtype=torch.int64), torch.zeros(256, dtype=torch.int64)
    some[:5], others[3:10] = 1, 1
    counts = [{"all": HeldoutFireCounts(9, count, 0.0, 9)} for count in (some, others)]
    (row,) = stability([FeatureActivity(run, "blocks.4.hook_mlp_out", False, by_subset) for by_subset in counts])
    assert (row.live_first, row.live_second, row.matched) == (5, 7, 5)
    assert row.share_09 == pytest.approx(2 / 5)  # features 3 and 4 are live in both, and the same


@pytest.mark.parametrize(("options", "says"), [((), "two or more"), (("--layers", "2"), "no layer 2")])
def test_stability_of_one_run_or_a_missing_layer_is_refused(
    demo_runs: tuple[Path, list[Path]], command: Command, options: tuple[str, ...], says: str
) -> None:
    path, folders = demo_runs
    replicas = sorted(folders[1].glob("nsae_l1=1e-05*"))[: 2 if options else 1]
    done = command("analyze", "stability", "--store", path, *replicas, *options)
    assert done.returncode == 2
    assert says in done.stderr


def test_stability_of_a_layer_covers_all_its_hooks(
    make_store: MakeStore, train_small: TrainSmall, command: Command, tmp_path: Path
) -> None:
    hooks = ["blocks.0.hook_mlp_out", "blocks.0.hook_resid_post", "blocks.1.hook_mlp_out", "blocks.1.hook_resid_post"]
    store, _, _ = make_store(n_contexts=80, widths=dict.fromkeys(hooks, 8))
    for kind in ("mlp_out", "resid_post"):
        train_small(store, "--variant", "baseline", "--seed", "0,1", "--hook", kind).rename(tmp_path / kind)
    common = ("--store", store.path, tmp_path / "mlp_out", tmp_path / "resid_post", "--layers", "1", "--device", "cpu")
    done = command("analyze", "stability", *common, "--json")
    assert done.returncode == 0, done.stderr
    assert [line["hook"] for line in json.loads(done.stdout)["stability"]] == hooks[2:]
    done = command("analyze", "features", *common, "--features", "1", "--without-model", "--out", tmp_path / "features")
    assert done.returncode == 0, done.stderr
    assert {sae["hook"] for sae in index_of(tmp_path / "features")["saes"]} == set(hooks[2:])


def dictionary(rng: np.random.Generator, kind: str, n: int = 240, d: int = 32) -> torch.Tensor:
    """Draw a dictionary with a falling spectrum; all draws of a kind have the same covariance."""
    scale = np.arange(1, d + 1) ** (0.0 if kind == "isotropic" else -0.7)
    directions = rng.normal(size=(n, d)) * scale
    if kind == "with a mean":
        directions += 2 * scale[3] * np.eye(d)[3]
    if kind == "clustered":  # eight features close to each of n / 8 centres
        directions = np.repeat(directions[: n // 8], 8, axis=0) + 0.4 * rng.normal(size=(n, d)) * scale
    return torch.from_numpy(directions * rng.uniform(0.1, 9, size=(n, 1))).float()


@pytest.mark.parametrize("kind", ["isotropic", "falling spectrum", "with a mean", "clustered"])
def test_unrelated_dictionaries_have_no_excess_over_the_null_and_equal_ones_an_excess_of_1(kind: str) -> None:
    rng = np.random.default_rng(0)
    excesses = []
    for seed in range(4):
        first, second = dictionary(rng, kind), dictionary(rng, kind)
        null = matched_cosines(first, unrelated(second, seed))
        assert null.mean() > 0.4  # which is why the matched cosines alone say nothing
        excesses.append(excess(matched_cosines(first, second), null))
        assert excess(matched_cosines(first, first), null) == pytest.approx(1, abs=1e-6)
    assert np.mean(np.array(excesses, dtype=float)) == pytest.approx(0, abs=0.02)


def test_null_keeps_the_spectrum_and_the_cosines_inside_a_dictionary() -> None:
    directions = torch.nn.functional.normalize(dictionary(np.random.default_rng(1), "clustered"), dim=1)
    reflected = unrelated(directions)
    assert reflected @ reflected.mT == pytest.approx(directions @ directions.mT, abs=1e-5)
    spectra = [np.linalg.eigvalsh((W.mT @ W).numpy()) for W in (reflected, directions)]
    assert spectra[0] == pytest.approx(spectra[1], abs=1e-4)


def test_excess_grows_with_the_share_of_common_features() -> None:
    rng = np.random.default_rng(2)
    first, other = dictionary(rng, "falling spectrum"), dictionary(rng, "falling spectrum")
    excesses = []
    for n_common in (0, 80, 160, 240):
        second = torch.cat([first[:n_common], other[n_common:]])
        excesses.append(excess(matched_cosines(first, second), matched_cosines(first, unrelated(second))))
    assert excesses == sorted(np.array(excesses, dtype=float))
    assert excesses[1] == pytest.approx(1 / 3, abs=0.1)
    assert excesses[3] == pytest.approx(1, abs=1e-6)
