"""Exports and imports say what is recorded of an SAE's training, and nothing of the store that it is tried on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data import Store
from tests.helpers.fixture_types import Command
from train import export_sae, import_run, load_sae, train
from train.interchange.formats.saelens import read_metadata
from train.interchange.origin import Origin, origin_of, read_origin
from train.sae import SAE

HOOK = "blocks.0.hook_mlp_out"
UNKNOWN = ("model_name", "dataset_path", "context_size", "prepend_bos", "prefix_token")  # of SAELens's metadata


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def with_metadata(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Path:
    config = read(folder / "cfg.json")
    (folder / "cfg.json").write_text(json.dumps({**config, "metadata": change(config["metadata"])}), encoding="utf-8")
    return folder


def exported_again(folder: Path, store: Store, tmp_path: Path, hook: str | None = None) -> dict[str, Any]:
    """Return SAELens's metadata of the SAE in a folder, imported and exported again."""
    sae = load_sae(import_run(folder, store=store, out=tmp_path / "theirs", hook=hook).folder)
    metadata: dict[str, Any] = read(export_sae(sae, to="saelens", out=tmp_path / "again") / "cfg.json")["metadata"]
    return metadata


def test_an_imported_sae_is_exported_with_what_its_files_say(run: Path, store: Store, tmp_path: Path) -> None:
    said = {
        "model_name": "theirs", "dataset_path": "their/text", "context_size": 9, "prepend_bos": False,
        "hook_name": HOOK, "seqpos_slice": [2, None],
    }  # fmt: skip
    folder = with_metadata(export_sae(load_sae(run, layer=0), to="saelens", out=tmp_path / "out"), lambda _: said)
    metadata = exported_again(folder, store, tmp_path)
    assert metadata.items() >= said.items()
    about = metadata["exported_from"]
    assert (about["model"], about["dataset"], about["context_size"], about["skip_positions"]) == (
        "theirs", "their/text", 9, 2
    )  # fmt: skip
    assert (about["store"], about["run"], about["trained_rows"], about["imported_from"]) == ("", "", None, "saelens")


def test_an_imported_sae_is_not_exported_with_the_stores_model_and_text(
    run: Path, store: Store, tmp_path: Path
) -> None:
    folder = with_metadata(export_sae(load_sae(run, layer=0), to="saelens", out=tmp_path / "out"), lambda _: {})
    metadata = exported_again(folder, store, tmp_path, hook=HOOK)
    assert [metadata[name] for name in UNKNOWN] == [None] * len(UNKNOWN)
    assert metadata["hook_name"] == HOOK
    assert metadata["exported_from"]["trained_rows"] is None
    source = load_sae(tmp_path / "theirs").source
    assert source is not None
    assert source.rows is None


@pytest.fixture(scope="module")
def topk(store: Store, tmp_path_factory: pytest.TempPathFactory) -> SAE:
    """Return a TopK SAE, which every format has, of a finished training."""
    (trained,) = train(
        store, variant="topk", k=4, activations=200, batch_size=100, expansion=2, layers="0",
        out=tmp_path_factory.mktemp("topk") / "runs", quiet=True, device="cpu",
    )  # fmt: skip
    return load_sae(trained.folder)


@pytest.mark.parametrize(
    ("to", "name"),
    [
        ("saelens", "saelens"), ("dictionary-learning", "dictionary-learning"), ("sparsify", "sparsify"),
        ("saebench", "train-export"), ("safetensors", "train-export"),
    ],
)  # fmt: skip
def test_an_export_that_is_imported_and_exported_again_keeps_its_origin(
    to: str, name: str, topk: SAE, store: Store, tmp_path: Path
) -> None:
    first = origin_of(topk)
    assert (first.model, first.dataset, first.prefixed, first.prefix_token) == ("tiny", "texts", True, 0)
    assert (first.trained_rows, first.planned_rows, first.store) == (200, 200, store.fingerprint)
    theirs = import_run(export_sae(topk, to=to, out=tmp_path / "out"), store=store, out=tmp_path / "theirs")
    skipped = 0 if to == "saelens" else None  # its metadata have no unknown positions
    assert origin_of(load_sae(theirs.folder)) == replace(first, imported_from=name, skip_positions=skipped)


def test_metadata_of_sparsify_and_of_plain_tensors_name_the_hook_the_sizes_and_the_origin(
    topk: SAE, tmp_path: Path
) -> None:
    about = {"hook": HOOK, "layer": 0, "model": "tiny", "dataset": "texts", "context_size": 64, "trained_rows": 200}
    config = read(export_sae(topk, to="sparsify", out=tmp_path / "sparsify") / "cfg.json")
    sizes = {"hookpoint": HOOK, "d_in": 12, "num_latents": 24, "expansion_factor": 2, "k": 4, "transcode": False}
    assert config.items() >= sizes.items()
    assert config["exported_from"].items() >= about.items()
    for to in ("safetensors", "saebench"):
        config = read(export_sae(topk, to=to, out=tmp_path / to) / "sae.json")
        assert config.items() >= {**about, "activation": "topk", "d_in": 12, "d_sae": 24, "k": 4}.items()


def test_dictionary_learnings_own_fields_are_read(run: Path, store: Store, tmp_path: Path) -> None:
    folder = export_sae(load_sae(run, layer=0), to="dictionary-learning", out=tmp_path / "out")
    config = read(folder / "config.json")
    del config["trainer"]["exported_from"]
    config["trainer"] |= {"lm_name": "theirs", "submodule_name": "mlp_out_layer_0", "layer": 0}
    config["buffer"]["ctx_len"] = 33
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    metadata = exported_again(folder, store, tmp_path)
    assert (metadata["model_name"], metadata["hook_name"], metadata["context_size"]) == ("theirs", HOOK, 33)
    assert (metadata["dataset_path"], metadata["prepend_bos"]) == (None, None)


@pytest.mark.parametrize(
    ("seqpos_slice", "skipped"),
    [
        ([None], 0), ([None, None], 0), ([3, None], 3), ([3, None, 1], 3), ([0, None, None], 0), ([3], None),
        ([5, -5], None), ([3, None, 2], None), ([-3, None], None), (["3", None], None), ([], None), (None, None),
    ],
)  # fmt: skip
def test_positions_that_saelens_leaves_out_are_read_if_they_are_the_first(seqpos_slice: Any, skipped: Any) -> None:
    assert read_metadata({"seqpos_slice": seqpos_slice}).skip_positions == skipped


@pytest.mark.parametrize(("skipped", "seqpos_slice"), [(0, [None]), (1, [1, None]), (None, [None])])
def test_positions_that_the_store_leaves_out_are_left_out_in_saelens(
    skipped: int | None, seqpos_slice: list[int | None], run: Path, tmp_path: Path
) -> None:
    sae = load_sae(run, layer=0)
    assert sae.source is not None
    assert sae.source.settings is not None
    provenance = {**sae.source.settings.provenance, "settings": {"skip_positions": skipped}}
    sae.source = replace(sae.source, settings=replace(sae.source.settings, provenance=provenance))
    metadata = read(export_sae(sae, to="saelens", out=tmp_path / "out") / "cfg.json")["metadata"]
    assert metadata["seqpos_slice"] == seqpos_slice
    assert len(range(metadata["context_size"])[slice(*metadata["seqpos_slice"])]) == 64 - (skipped or 0)
    assert metadata["exported_from"]["skip_positions"] == skipped


def test_impossible_values_in_a_strangers_file_are_unknown() -> None:
    made_up = {"model": 3, "context_size": "64", "trained_rows": -1, "planned_rows": 2**70, "store": None, "layer": 7}
    assert read_origin(made_up) == Origin()
    assert read_origin("none") == Origin()


def test_an_export_of_an_unfinished_training_says_so(run: Path, store: Store, command: Command, tmp_path: Path) -> None:
    train(
        store, variant="baseline", l1=1e-3, activations=2000, batch_size=100, expansion=2, out=tmp_path / "runs",
        quiet=True, device="cpu", validate_every=500, snapshots=4,
    )  # fmt: skip
    (snapshot,) = tmp_path.glob("runs/*/snapshots/000000005")
    done = command("train", "export", snapshot, "--to", "saelens", "--out", tmp_path / "half")
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"Note: {snapshot}: its training had not ended; it was trained on 500 of 2,000 rows\n"
    about = read(tmp_path / "half" / HOOK / "cfg.json")["metadata"]["exported_from"]
    assert (about["trained_rows"], about["planned_rows"]) == (500, 2000)
    done = command("train", "import", tmp_path / "half", "--store", store.path, "--out", tmp_path / "theirs")
    assert "Note: its training had not ended; it was trained on 500 of 2,000 rows" in done.stderr.splitlines()
    done = command("train", "export", snapshot.parents[1], "--to", "saelens", "--out", tmp_path / "whole")
    assert (done.returncode, done.stderr) == (0, "")
