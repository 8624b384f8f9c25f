"""The data of the page of features: its index, the details in bundles, and the same features under another seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from analyze.features.measure import FeatureSettings
from analyze.features.page.bundles import BundleWriter
from analyze.features.page.write import ShownSAE, expected_bytes, write_features_page
from analyze.features.text import TokenFeatures
from tests.analyze.features.conftest import SeedRuns
from tests.helpers.pages.feature_pages import features_of, index_of


def test_index_lists_every_feature_of_each_sae_live_or_dead(seed_runs: SeedRuns, features_page: Path) -> None:
    saes = index_of(features_page)["saes"]
    assert [(sae["run"], sae["hook"]) for sae in saes] == [(fires.run.name, fires.hook) for fires in seed_runs.fires]
    for sae, fires in zip(saes, seed_runs.fires, strict=True):
        assert sorted([*sae["number"], *sae["dead"]]) == list(range(128))
        assert len(sae["dead"]) > 0
        assert sae["fired"] == fires.all.count[sae["number"]].tolist()
        assert sae["rows"] == fires.all.rows


def test_density_over_training_rows_counts_the_rows_of_the_training_split(
    seed_runs: SeedRuns, features_page: Path
) -> None:
    store, fires = seed_runs.heldout.store, seed_runs.fires[0]
    sae = fires.run.sae(fires.hook)
    rows = np.concatenate([np.asarray(store.rows(fires.hook, shard)) for shard in store.shards("train")])
    fired = (sae.encode(torch.from_numpy(rows.astype(np.float32))) != 0).sum(dim=0)
    index = index_of(features_page)["saes"][0]
    assert index["training_rows"] == len(rows)
    assert index["training_fired"] == fired[index["number"]].tolist()
    assert index["training_fired_dead"] == fired[index["dead"]].tolist()


def test_each_feature_is_in_the_bundle_that_the_index_names(features_page: Path) -> None:
    bundles = list((features_page / "features").glob("*.js"))
    assert len(bundles) > 3
    listed = [(number, bundle) for sae in index_of(features_page)["saes"] for number, bundle in
              zip(sae["number"], sae["bundle"], strict=True)]  # fmt: skip
    assert [bundle for _, bundle in listed] == sorted(bundle for _, bundle in listed)
    assert [feature["number"] for feature in features_of(features_page)] == [number for number, _ in listed]


def test_features_are_matched_one_to_one_with_those_of_the_other_seed(seed_runs: SeedRuns, features_page: Path) -> None:
    hook = seed_runs.fires[0].hook
    first, second = (fires for fires in seed_runs.fires if fires.hook == hook)
    W, V = (fires.run.sae(hook).W_dec.detach().double().numpy()[fires.all.live] for fires in (first, second))
    cosines = (W / np.linalg.norm(W, axis=1)[:, None]) @ (V / np.linalg.norm(V, axis=1)[:, None]).T
    rows, columns = linear_sum_assignment(-cosines)
    numbers = [np.flatnonzero(fires.all.live) for fires in (first, second)]
    expected = {int(numbers[0][i]): (int(numbers[1][j]), cosines[i, j]) for i, j in zip(rows, columns, strict=True)}
    of_first = [f for f in features_of(features_page) if (f["run"], f["hook"]) == (first.run.name, hook)]
    for feature in of_first:
        matches = {number: cosine for _, number, cosine in feature["seeds"]}
        if feature["number"] in expected:
            number, cosine = expected[feature["number"]]
            assert matches == {number: pytest.approx(cosine, rel=1e-3, abs=1e-4)}
        else:
            assert matches == {}


def test_index_has_the_best_match_and_the_peak_tokens_of_the_strongest_contexts(features_page: Path) -> None:
    saes, features = index_of(features_page)["saes"], features_of(features_page)
    rows = [row for sae in saes for row in zip(sae["match"], sae["peaks"], sae["fires_on"], strict=True)]
    for feature, (match, peaks, fires_on) in zip(features, rows, strict=True):
        assert match == max(feature["seeds"], key=lambda seed: seed[2], default=None)
        assert sum(count for _, count in peaks) == len(feature["strongest"])
        assert [count for _, count in peaks] == sorted((count for _, count in peaks), reverse=True)
        if len(fires_on) < 10:
            assert {token for token, _ in peaks} <= {token for token, _ in fires_on}


def test_markup_in_tokens_cannot_end_the_index(seed_runs: SeedRuns, tmp_path: Path) -> None:
    fires = seed_runs.fires[0]
    token = "<!--<script></script>"
    text = [TokenFeatures(fires.run.name, fires.hook, 0, token, [], 0)]
    write_features_page(tmp_path, seed_runs.heldout, [ShownSAE(fires, [])], None, FeatureSettings(), text=text)
    assert index_of(tmp_path)["text"]["tokens"] == [token]
    assert token not in (tmp_path / "features.html").read_text()


def test_bundles_replace_those_of_an_earlier_page_only_when_all_are_written(tmp_path: Path) -> None:
    folder = tmp_path / "features"

    def written() -> dict[str, str]:
        return {path.name: path.read_text() for path in folder.iterdir()}

    def writer(number: int) -> BundleWriter:
        bundles = BundleWriter(tmp_path)
        bundles.add({"number": number})
        bundles.flush()
        return bundles

    first = writer(1)
    first.add({"number": 2})
    first.publish()
    (folder / "notes.txt").write_text("mine")
    before = {
        "0.js": 'featureBundle(0,\n[{"number": 1}]\n);\n', "1.js": 'featureBundle(1,\n[{"number": 2}]\n);\n',
        "notes.txt": "mine",
    }  # fmt: skip
    assert written() == before
    writer(3)  # as if stopped here
    assert written() == before
    writer(4).publish()
    assert written() == {"0.js": 'featureBundle(0,\n[{"number": 4}]\n);\n', "notes.txt": "mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["features"]


def test_expected_size_is_within_a_factor_of_two_of_the_real_one(features_page: Path) -> None:
    real = sum(path.stat().st_size for path in (features_page / "features").iterdir())
    n = len(features_of(features_page))
    assert 0.5 < expected_bytes(n, FeatureSettings(), 32) / real < 2.5


def test_a_dead_feature_that_is_asked_for_has_details_without_examples(seed_runs: SeedRuns, tmp_path: Path) -> None:
    fires = seed_runs.fires[0]
    dead = int(torch.nonzero(~fires.all.live)[0, 0])
    write_features_page(tmp_path, seed_runs.heldout, [ShownSAE(fires, [dead])], None, FeatureSettings())
    feature = features_of(tmp_path)[0]
    assert (feature["number"], feature["fired"], feature["largest"]) == (dead, 0, 0)
    assert feature["strongest"] == feature["quantiles"] == feature["neighbours"] == []
