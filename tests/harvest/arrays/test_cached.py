"""SAELens's cached activations become a store, and a store becomes what `datasets` and SAELens load."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import load_from_disk

from data import InputError, Store
from tests.helpers.arrays import by_context
from tests.helpers.fixture_types import Command

Make = Callable[..., Store]
SAVED = Path(__file__).with_name("references") / "saelens"  # by SAELens itself: benchmarks/peers/cached.py
HOOK = "blocks.1.hook_mlp_out"


def test_a_dataset_of_saelens_becomes_a_store_of_its_rows_and_tokens(make: Make) -> None:
    saved = load_from_disk(str(SAVED)).with_format("numpy")[:]
    store = make(SAVED, dtype="float32", held_out=3)
    assert (store.hooks, store.schema.context_size, store.unknown) == ([HOOK], 8, ["model", "documents"])
    order = store.documents()[:, 0]
    assert (by_context(store, HOOK) == saved[HOOK][order]).all()
    assert (store.tokens() == saved["token_ids"][order]).all()


def test_the_runners_settings_name_model_and_data(make: Make, tmp_path: Path) -> None:
    shutil.copytree(SAVED, tmp_path / "cache")
    settings = {"model_name": "gpt2", "dataset_path": "texts", "hook_name": HOOK}
    (tmp_path / "cache" / "cache_activations_runner_cfg.json").write_text(json.dumps(settings), encoding="utf-8")
    store = make(tmp_path / "cache")
    assert (store.model_name, store.dataset, store.unknown) == ("gpt2", "texts", ["documents"])
    assert make(tmp_path / "cache").fingerprint == store.fingerprint


@pytest.mark.parametrize(("skip", "dtype"), [(0, "float16"), (2, "float32"), (0, "bfloat16")])
def test_an_exported_store_is_loaded_by_datasets_with_the_same_numbers(
    skip: int, dtype: str, make: Make, command: Command, tmp_path: Path, small_windows: None
) -> None:
    x = np.random.default_rng(0).integers(-100, 100, (60, 13, 8)).astype(np.float32)
    tokens = np.arange(60 * 13).reshape(60, 13)
    np.save(tmp_path / "blocks.0.hook_mlp_out.npy", x)
    np.save(tmp_path / "tokens.npy", tokens)
    store = make(
        tmp_path / "blocks.0.hook_mlp_out.npy", token_ids=tmp_path / "tokens.npy", skip_positions=skip, dtype=dtype,
        held_out=7,
    )  # fmt: skip
    assert store.layout.n_windows > 1
    order = store.documents()[:, 0]
    for split, part in (("train", order[7:]), ("all", order)):
        out = tmp_path / split
        done = command("analyze", "export", "--store", store.path, "--to", "saelens", "--split", split, "--out", out)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{out / 'blocks.0.hook_mlp_out'}\n"
        loaded = load_from_disk(done.stdout.strip())
        assert loaded.features["blocks.0.hook_mlp_out"].shape == (13 - skip, 8)
        columns = loaded.with_format("numpy")[:]
        assert loaded.features["blocks.0.hook_mlp_out"].dtype == ("float16" if dtype == "float16" else "float32")
        assert (columns["blocks.0.hook_mlp_out"] == x[part, skip:]).all()
        assert (columns["token_ids"] == tokens[part, skip:]).all()
    again = make(tmp_path / "all" / "blocks.0.hook_mlp_out", "again.zarr", dtype=dtype)
    assert again.layout.n_rows == store.layout.n_rows


def test_an_export_without_token_ids_has_none_and_refuses_an_existing_folder(
    make: Make, command: Command, tmp_path: Path
) -> None:
    np.save(tmp_path / "rows.npy", np.ones((300, 8), dtype=np.float32))
    store = make(tmp_path / "rows.npy")
    arguments = ("analyze", "export", "--store", store.path, "--to", "saelens", "--out", tmp_path / "out")
    assert command(*arguments).returncode == 0
    assert load_from_disk(str(tmp_path / "out" / "rows")).column_names == ["rows"]
    done = command(*arguments)
    assert done.returncode == 2
    assert "give another --out" in done.stderr


def outside(folder: Path) -> None:
    change(folder / "state.json", {"_data_files": [{"filename": "../data.arrow"}]})


def truncated(folder: Path) -> None:
    file = next(folder.glob("*.arrow"))
    os.truncate(file, file.stat().st_size // 2)


def another_width(folder: Path) -> None:
    change(
        folder / "dataset_info.json", {"features": {HOOK: {"shape": [8, 5], "dtype": "float32", "_type": "Array2D"}}}
    )


def no_activations(folder: Path) -> None:
    change(folder / "dataset_info.json", {"features": {"text": {"dtype": "string", "_type": "Value"}}})


def no_such_column(folder: Path) -> None:
    change(folder / "dataset_info.json", {"features": {"x": {"shape": [8, 4], "dtype": "float32", "_type": "Array2D"}}})


def no_arrow(folder: Path) -> None:
    for file in folder.glob("*.arrow"):
        file.write_bytes(b"\x80\x04" + bytes(200))


def change(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **value}), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (outside, "names no Arrow files in its folder"), (truncated, "cannot be read"),
        (another_width, "has rows of other lengths than [8, 5]"), (no_activations, "has no column of activations"),
        (no_such_column, "cannot be read"), (no_arrow, "cannot be read"),
    ],
)  # fmt: skip
def test_damaged_datasets_are_refused_in_one_sentence(
    damage: Callable[[Path], None], message: str, make: Make, tmp_path: Path
) -> None:
    shutil.copytree(SAVED, tmp_path / "cache")
    damage(tmp_path / "cache")
    with pytest.raises(InputError) as refused:
        make(tmp_path / "cache")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
