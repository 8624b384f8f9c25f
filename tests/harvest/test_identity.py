"""A store is continued, or called complete, only for the very model and text that it was begun with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from data import open_store
from harvest.demo import MODEL as DEMO
from tests.helpers.fixture_types import Command, MakeStore

SIZES = ("--tokens", "8k", "--context-size", "32", "--device", "cpu", "--layers", "0")


def change_weights(path: Path) -> None:
    weights = load_file(path / "model.safetensors")
    weights["transformer.h.2.mlp.c_proj.bias"] += 1  # of a layer that is not even harvested
    save_file(weights, path / "model.safetensors", {"format": "pt"})


def change_text(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2].replace(b"1", b"2") + content[len(content) // 2 :])


@pytest.fixture
def inputs(random_gpt2: Path, token_file: Path, tmp_path: Path) -> tuple[Path, Path]:
    shutil.copytree(random_gpt2, tmp_path / "model")
    shutil.copy(token_file, tmp_path / "ids.jsonl")
    return tmp_path / "model", tmp_path / "ids.jsonl"


@pytest.mark.parametrize(("change", "what"), [("model", "the model's content"), ("text", "the dataset's content")])
def test_changed_model_or_text_is_noticed_before_a_store_is_called_complete(
    command: Command, inputs: tuple[Path, Path], tmp_path: Path, change: str, what: str
) -> None:
    model, text = inputs
    arguments = ("harvest", "--model", model, "--dataset", text, "--out", tmp_path / "s.zarr", *SIZES)
    assert command(*arguments).returncode == 0
    assert "nothing to do" in command(*arguments).stderr
    fingerprint = open_store(tmp_path / "s.zarr").fingerprint
    if change == "model":
        change_weights(model)
    else:
        change_text(text)
    done = command(*arguments)
    assert done.returncode == 2
    assert "nothing to do" not in done.stderr
    assert f"{what} (the store has " in done.stderr
    assert open_store(tmp_path / "s.zarr").fingerprint == fingerprint


def test_changed_tokenizer_is_noticed_on_resume(command: Command, tmp_path: Path) -> None:
    shutil.copytree(DEMO, tmp_path / "model")
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": f"Text {i}. " * 30}) + "\n" for i in range(99)))
    dataset = ("--dataset", tmp_path / "texts.jsonl", "--out", tmp_path / "s.zarr")
    arguments = ("harvest", "--model", tmp_path / "model", *dataset, *SIZES)
    assert command(*arguments).returncode == 0
    tokenizer = json.loads((tmp_path / "model" / "tokenizer.json").read_text())
    tokenizer["normalizer"] = {"type": "Lowercase"}
    (tmp_path / "model" / "tokenizer.json").write_text(json.dumps(tokenizer))
    done = command(*arguments)
    assert done.returncode == 2
    assert "the tokenizer (the store has " in done.stderr


def test_store_of_another_source_is_called_no_harvest(
    command: Command, inputs: tuple[Path, Path], make_store: MakeStore
) -> None:
    model, text = inputs
    path = make_store()[0].path
    done = command("harvest", "--model", model, "--dataset", text, "--out", path, *SIZES)
    assert done.returncode == 2
    assert f"--out {path}: holds a store that no harvest made, so it cannot be continued; give --ov" in done.stderr
    assert "--dtype" not in done.stderr


def test_held_out_documents_are_held_out_whole_up_to_the_last_context(
    command: Command, inputs: tuple[Path, Path], tmp_path: Path
) -> None:
    model, text = inputs
    for name, more in (("default", ()), ("share", ("--held-out", "20%")), ("count", ("--held-out", "7"))):
        out = tmp_path / f"{name}.zarr"
        done = command("harvest", "--model", model, "--dataset", text, "--out", out, *SIZES, *more)
        assert done.returncode == 0, done.stderr
        store = open_store(out)
        n_held = store.layout.n_heldout_contexts
        assert f"held out: {n_held} of 250 contexts" in done.stderr
        assert {"default": 25, "share": 50, "count": 7}[name] <= n_held <= 60
        held = np.unique(store.documents(np.arange(n_held)))
        lengths = [len(json.loads(line)["input_ids"]) for line in text.read_text().splitlines()]
        assert 0 <= sum(lengths[i] for i in held) - 32 * n_held < 32


def test_store_without_held_out_rows_is_reported_by_harvest_and_train(
    command: Command, inputs: tuple[Path, Path], tmp_path: Path
) -> None:
    model, _ = inputs
    rng = np.random.default_rng(0)
    (tmp_path / "one.jsonl").write_text(json.dumps({"input_ids": rng.integers(0, 211, 9000).tolist()}))
    out = tmp_path / "one.zarr"
    done = command("harvest", "--model", model, "--dataset", tmp_path / "one.jsonl", "--out", out, *SIZES)
    assert done.returncode == 0, done.stderr
    assert "no context is held out (documents: 1)" in done.stderr
    assert open_store(out).n_rows("train") == 8000
    runs = tmp_path / "runs"
    options = ("--variant", "baseline", "--expansion", "2", "--batch-size", "64", "--activations", "1k")
    done = command("train", "--store", out, *options, "--device", "cpu", "--out", runs)
    assert done.returncode == 0, done.stderr
    assert "has no held-out rows, so no run is validated" in done.stderr
    done = command("analyze", "measures", "--store", out, runs)
    assert done.returncode == 2
    assert "has no held-out rows, because its text has too few documents" in done.stderr
    assert "continue" not in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--separator-token", "eos"), "--separator-token eos: does not apply to a dataset of token ids"),
        (("--special-tokens", "text"), "--special-tokens text: does not apply to a dataset of token ids"),
        (("--revision", "main"), "--revision main: does not apply to"),
        (("--dataset-split", "train"), "--dataset-split train does not apply"),
        (("--dataset-config", "en"), "--dataset-config en does not apply"),
        (("--held-out", "60%"), "--held-out: at most half of the 250 contexts"),
        (("--held-out", "126"), "--held-out: at most half of the 250 contexts"),
        (("--held-out", "a%"), "'a%' is not a share"),
    ],
)
def test_harvest_options_that_do_not_apply_are_refused_at_once(
    command: Command, inputs: tuple[Path, Path], tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    model, text = inputs
    done = command("harvest", "--model", model, "--dataset", text, "--out", tmp_path / "s.zarr", *SIZES, *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert not list(tmp_path.glob("s.zarr*"))
