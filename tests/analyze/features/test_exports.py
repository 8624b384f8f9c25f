"""Exports of features: the files' schemas as the libraries have them, and values against a float64 computation.

benchmarks/peers/dashboards.py reads such files with the libraries themselves, and compares these schemas with theirs.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from safetensors.numpy import load_file

from analyze.cli import main
from analyze.commands.features import FORMATS as NAMES
from analyze.features.exports import dashboard, delphi
from analyze.features.exports.registry import FORMATS, FeatureExport
from analyze.features.exports.sae_features import as_name
from analyze.features.token_text import ContextText, text_of_token
from analyze.features.unembedding import Unembedding
from analyze.measure.firing import FeatureActivity
from analyze.measure.heldout import Heldout
from data import Store, open_store
from data.errors import InputError
from tests.analyze.features.conftest import SeedRuns
from tests.helpers.fixture_types import LocalStore
from tests.helpers.pages.feature_schemas import (
    ACTIVATION_COLUMNS,
    BATCH,
    DELPHI_CONFIG,
    FEATURE,
    FEATURE_COLUMNS,
    MODEL_COLUMNS,
    PASSAGE,
    RELEASE_COLUMNS,
    SOURCE_COLUMNS,
    SOURCE_SET_COLUMNS,
)

HOOK = "blocks.1.hook_mlp_out"


class Exported(NamedTuple):
    heldout: Heldout
    fires: FeatureActivity
    unembedding: Unembedding
    folders: dict[str, Path]  # format → the SAE's folder
    dense: NDArray[np.float64]  # [contexts, positions, d_sae]


@pytest.fixture(scope="module")
def exported(seed_runs: SeedRuns, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The exports of an SAE whose features fire at all positions, in passages shorter than a context."""
    store = open_store(seed_runs.heldout.store.path)
    store.provenance["model"] |= {"n_layers": 2, "d_model": 16}
    heldout, fires = Heldout(store, 12), next(fires for fires in seed_runs.fires if fires.hook == HOOK)
    root = tmp_path_factory.mktemp("exports")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delphi, "FILE_ENTRIES", 50)
        patch.setattr(dashboard, "SETTINGS", replace(dashboard.SETTINGS, before=5, after=7))
        live = fires.all.live.nonzero()[:, 0].tolist()
        folders = {
            to: FeatureExport(to, root / to).write(heldout, [fires], [live], seed_runs.unembedding)[0] for to in FORMATS
        }
    return Exported(heldout, fires, seed_runs.unembedding, folders, dense_activations(store, heldout, fires))


@torch.no_grad()
def dense_activations(store: Store, heldout: Heldout, fires: FeatureActivity) -> NDArray[np.float64]:
    sae, place = fires.run.sae(HOOK).double(), {int(number): i for i, number in enumerate(heldout.contexts)}
    dense = np.zeros((heldout.n_contexts, store.schema.context_size, sae.d_sae))
    for shard in store.shards("heldout"):
        x = torch.from_numpy(np.asarray(store.rows(HOOK, shard), dtype=np.float64))
        largest = torch.relu((x - sae.b_dec) @ sae.W_enc.T + sae.b_enc).topk(2)
        c = torch.zeros(len(x), sae.d_sae, dtype=torch.float64).scatter_(1, largest.indices, largest.values).numpy()
        for row, (context, position) in enumerate(zip(*store.origin(shard), strict=True)):
            if int(context) in place:
                dense[place[int(context)], position] = c[row]
    return dense


def saedashboard_features(exported: Exported) -> list[dict[str, Any]]:
    files = sorted(exported.folders["saedashboard"].glob("batch-*.json"))
    return [feature for file in files for feature in json.loads(file.read_text())["features"]]


def lines(file: Path) -> list[dict[str, Any]]:
    text = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    return [json.loads(line) for line in text.decode().splitlines()]


def test_the_commands_formats_are_those_of_the_registry() -> None:
    assert tuple(FORMATS) == NAMES


def test_saedashboard_files_have_its_readers_keys_and_types(exported: Exported) -> None:
    batch = json.loads((exported.folders["saedashboard"] / "batch-0.json").read_text())
    assert batch.keys() == BATCH
    assert (batch["layer"], batch["sae_set"]) == (1, "mlp_out-topk_seed-0")
    for feature in batch["features"]:
        assert feature.keys() == FEATURE
        assert len(feature["neuron_alignment_l1"]) == 3
        for name, value in feature.items():
            if name.endswith(("values", "l1")):
                assert all(type(number) is float for number in value), name
        for passage in feature["activations"]:
            assert passage.keys() == PASSAGE
            assert len(passage["tokens"]) == len(passage["values"])
    skipped = json.loads((exported.folders["saedashboard"] / "skipped_indexes.json").read_text())
    dead = np.flatnonzero(exported.dense.max(axis=(0, 1)) == 0)
    assert skipped["skipped_indexes"] == dead.tolist()


def test_saedashboard_measures_are_those_of_the_weights_and_rows(exported: Exported) -> None:
    features = saedashboard_features(exported)
    assert [feature["feature_index"] for feature in features] == exported.fires.all.live.nonzero()[:, 0].tolist()
    W = exported.fires.run.sae(HOOK).W_dec.detach().double().numpy()
    for feature in features:
        active = exported.dense[..., feature["feature_index"]]
        direction = W[feature["feature_index"]] / np.linalg.norm(W[feature["feature_index"]])
        assert feature["frac_nonzero"] == pytest.approx((active > 0).mean())
        counts, edges = np.histogram(active[active > 0], bins=50, range=(0, active.max()))
        assert np.abs(np.cumsum(counts) - np.cumsum(feature["freq_hist_data_bar_heights"])).max() <= 1  # float32
        assert feature["freq_hist_data_bar_values"] == pytest.approx((edges[1:] + edges[:-1]) / 2, rel=1e-4)
        largest = np.argsort(-direction)[:3]
        assert feature["neuron_alignment_indices"] == largest.tolist()
        assert feature["neuron_alignment_values"] == pytest.approx(direction[largest], rel=1e-4)
        shares = np.abs(direction[largest]) / np.abs(direction).sum()
        assert feature["neuron_alignment_l1"] == pytest.approx(shares, rel=1e-4)
        logits = exported.unembedding.weight.double().numpy() @ direction
        assert feature["pos_values"] == pytest.approx(np.sort(logits)[::-1][:10], rel=1e-4)
        assert feature["neg_values"] == pytest.approx(np.sort(logits)[:10], rel=1e-4)
        assert feature["pos_str"][0] == text_of_token(exported.unembedding.tokenizer, int(logits.argmax()))
        counts, edges = np.histogram(logits, bins=50)
        assert np.abs(np.cumsum(counts) - np.cumsum(feature["logits_hist_data_bar_heights"])).max() <= 1
        assert feature["logits_hist_data_bar_values"] == pytest.approx((edges[1:] + edges[:-1]) / 2, rel=1e-3, abs=1e-4)


def test_passages_show_the_activations_in_their_interval_with_their_text(exported: Exported) -> None:
    text = ContextText(exported.unembedding.tokenizer, exported.heldout.store, exported.heldout.contexts)
    texts = [text.texts(context, 0, 32) for context in range(exported.heldout.n_contexts)]
    for feature in saedashboard_features(exported):
        active = exported.dense[..., feature["feature_index"]]
        top = [passage for passage in feature["activations"] if passage["bin_min"] == -1]
        peaks = np.sort(active.max(axis=1))[::-1]
        shown = [passage["values"][passage["qualifying_token_index"]] for passage in top]
        assert shown == pytest.approx(peaks[peaks > 0][:20], rel=1e-4)
        assert all(passage["bin_max"] == pytest.approx(peaks[0], rel=1e-5) for passage in top)
        for passage in feature["activations"][len(top) :]:
            value = passage["values"][passage["qualifying_token_index"]]
            assert passage["bin_min"] - 1e-6 < value <= passage["bin_max"] * (1 + 1e-5)
            inside = (active > passage["bin_min"] * (1 + 1e-6)) & (active <= passage["bin_max"] * (1 + 1e-6))
            assert passage["bin_contains"] == pytest.approx(inside.mean(), abs=1.5 / active.size)
        for passage in feature["activations"]:
            assert any(
                tokens[begin : begin + len(passage["tokens"])] == passage["tokens"]
                and c[begin : begin + len(passage["values"])] == pytest.approx(passage["values"], rel=1e-4, abs=1e-5)
                for tokens, c in zip(texts, active, strict=True)
                for begin in range(32 - len(passage["tokens"]) + 1)
            )


def test_neuronpedia_rows_are_the_dashboards_under_its_databases_columns(exported: Exported) -> None:
    folder, features = exported.folders["neuronpedia"], saedashboard_features(exported)
    source_id = "1-mlp_out-topk_seed-0"
    assert folder.parts[-2:] == ("made-up", source_id)
    rows, passages = lines(folder / "features/batch-0.jsonl.gz"), lines(folder / "activations/batch-0.jsonl.gz")
    for row, feature in zip(rows, features, strict=True):
        assert row.keys() == rows[0].keys() <= FEATURE_COLUMNS  # its importer reads the columns of the first row
        assert (row["modelId"], row["layer"], row["index"]) == (*folder.parts[-2:], str(feature["feature_index"]))
        shared = row.keys() & feature.keys()
        assert {name: row[name] for name in shared} == {name: feature[name] for name in shared}
        assert row["maxActApprox"] == pytest.approx(exported.dense[..., feature["feature_index"]].max(), rel=1e-5)
    assert len({row["id"] for row in passages}) == len(passages)
    expected = [passage for feature in features for passage in feature["activations"]]
    for row, passage in zip(passages, expected, strict=True):
        assert row.keys() == passages[0].keys() <= ACTIVATION_COLUMNS
        assert (row["tokens"], row["values"]) == (passage["tokens"], passage["values"])
        assert row["values"][row["maxValueTokenIndex"]] == row["maxValue"] == max(passage["values"])
        assert row["qualifyingTokenIndex"] == passage["qualifying_token_index"]
    (source,), (of_set,), (model,) = (lines(folder / f"{name}.jsonl") for name in ("source", "sourceset", "model"))
    (release,) = lines(folder / "release.jsonl")
    for row, columns, required in (
        (release, RELEASE_COLUMNS, {"name", "description", "creatorName", "creatorId"}),
        (model, MODEL_COLUMNS, {"id", "layers", "neuronsPerLayer", "owner", "creatorId"}),
        (of_set, SOURCE_SET_COLUMNS, {"modelId", "name", "description", "creatorName", "creatorId"}),
        (source, SOURCE_COLUMNS, {"id", "modelId", "setName", "creatorId"}),
    ):
        assert required <= row.keys() <= columns
    assert (source["id"], source["setName"], source["modelId"]) == (source_id, of_set["name"], model["id"])
    assert (of_set["releaseName"], of_set["modelId"]) == (release["name"], model["id"])


def test_neuronpedia_files_are_the_same_each_time(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = exported.fires.all.live.nonzero()[:, 0].tolist()
    monkeypatch.setattr(dashboard, "SETTINGS", replace(dashboard.SETTINGS, before=5, after=7))
    again = FeatureExport("neuronpedia", tmp_path / "again").write(
        exported.heldout, [exported.fires], [live], exported.unembedding
    )[0]
    files = [path for path in again.rglob("*") if path.is_file()]
    assert len(files) == 6
    for path in files:
        assert path.read_bytes() == (exported.folders["neuronpedia"] / path.relative_to(again)).read_bytes()


def test_neuronpedia_gets_no_file_without_a_row_for_dead_features(exported: Exported, tmp_path: Path) -> None:
    dead = (~exported.fires.all.live).nonzero()[:2, 0].tolist()
    export = FeatureExport("neuronpedia", tmp_path / "dead")
    (folder,) = export.write(exported.heldout, [exported.fires], [dead], exported.unembedding)
    assert [row["index"] for row in lines(folder / "features/batch-0.jsonl.gz")] == [str(number) for number in dead]
    assert not (folder / "activations").exists()


def test_a_name_has_no_two_underscores_which_neuronpedia_cuts_names_at() -> None:
    assert as_name("mlp_out-my__run/topk_k=40") == "mlp_out-my_run-topk_k-40"


def test_delphis_files_have_every_active_entry_and_cover_all_features(exported: Exported) -> None:
    folder = exported.folders["delphi"] / HOOK
    files = sorted(folder.glob("*.safetensors"), key=lambda path: int(path.stem.split("_")[0]))
    ranges = [tuple(map(int, path.stem.split("_"))) for path in files]
    assert len(files) > 2
    assert [first for first, _ in ranges] == [0, *(last + 1 for _, last in ranges[:-1])]
    assert ranges[-1][1] == exported.dense.shape[2] - 1
    read = np.zeros_like(exported.dense)
    for path, (first, _) in zip(files, ranges, strict=True):
        arrays = load_file(path)
        assert arrays["locations"].dtype == np.uint16
        np.testing.assert_array_equal(arrays["tokens"], exported.heldout.tokens())
        context, position, feature = arrays["locations"].T.astype(np.int64)
        assert (np.diff((feature * 1000 + context) * 1000 + position) > 0).all()  # delphi relies on the text's order
        read[context, position, first + feature] = arrays["activations"]
    np.testing.assert_allclose(read, exported.dense, rtol=1e-5, atol=1e-6)
    config = json.loads((folder / "config.json").read_text())
    assert config.keys() == DELPHI_CONFIG
    assert (config["model_name"], config["cache_ctx_len"]) == ("made-up", 32)


def test_delphis_neighbours_are_the_nearest_live_features(exported: Exported) -> None:
    path = exported.folders["delphi"].with_name("neighbours") / f"{HOOK}-decoder_similarity.json"
    neighbours, live = json.loads(path.read_text()), exported.fires.all.live.numpy()
    unit = exported.fires.run.sae(HOOK).W_dec.detach().double().numpy()
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    assert list(neighbours) == [str(number) for number in np.flatnonzero(live)]
    for number, nearest in neighbours.items():
        cosines = np.where(live, unit @ unit[int(number)], -2)
        cosines[int(number)] = -2
        assert [cosine for cosine, _ in nearest] == pytest.approx(np.sort(cosines)[::-1][:10], abs=1e-5)
        assert [cosines[near] for _, near in nearest] == pytest.approx([cosine for cosine, _ in nearest], abs=1e-5)


@pytest.mark.parametrize("to", FORMATS)
def test_a_store_without_token_ids_and_an_existing_folder_are_refused(
    small_runs: tuple[LocalStore, Path], to: str, tmp_path: Path
) -> None:
    store = open_store(small_runs[0].path)
    with pytest.raises(InputError, match="exists; remove it"):
        FeatureExport(to, tmp_path).check(store, [HOOK])
    store.provenance["tokens"]["unknown"] = ["token_ids"]
    with pytest.raises(InputError, match="has no token ids"):
        FeatureExport(to, tmp_path / "new").check(store, [HOOK])


@pytest.mark.parametrize("to", ["saedashboard", "neuronpedia"])
def test_formats_with_logits_need_a_model_and_a_hook_in_its_residual_stream(
    small_runs: tuple[LocalStore, Path], to: str, tmp_path: Path
) -> None:
    store, export = open_store(small_runs[0].path), FeatureExport(to, tmp_path / "new")
    with pytest.raises(InputError, match="leave out --without-model"):
        export.check(store, [HOOK], with_model=False)
    with pytest.raises(InputError, match="was not harvested from a model"):
        export.check(store, [HOOK])
    store.provenance["model"]["sha256"] = "…"
    export.check(store, [HOOK])
    with pytest.raises(InputError, match=r"hook_post is not in the residual stream's space.*--to delphi"):
        export.check(store, [HOOK, "blocks.1.mlp.hook_post"])


def test_analyze_features_writes_delphis_files_without_a_model(
    small_runs: tuple[LocalStore, Path], tmp_path: Path
) -> None:
    store, folder = small_runs
    arguments = ["features", "--store", str(store.path), str(folder / "nsae"), "--layers", "1", "--without-model",
                 "--to", "delphi", "--out", str(tmp_path / "new"), "--numbers", "3,1", "--device", "cpu"]  # fmt: skip
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / "new/nsae/latents")]
    (file,) = (tmp_path / "new/nsae/latents" / HOOK).glob("*.safetensors")
    assert set(load_file(file)["locations"][:, 2].tolist()) <= {1, 3}
    again = CliRunner().invoke(main, arguments)
    assert "exists; remove it" in again.stderr
