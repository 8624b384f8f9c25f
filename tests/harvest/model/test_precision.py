"""Precision and compilation: the values stay within a stated error, and the store says what was done."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data import Store, open_store
from tests.helpers.fixture_types import Command

SIZES = ("--tokens", "5k", "--context-size", "32", "--batch-size", "8", "--device", "cpu", "--dtype", "float32")


def harvested(command: Command, model: Path, dataset: Path, out: Path, *more: str) -> tuple[Store, dict[str, Any]]:
    done = command("harvest", "--model", model, "--dataset", dataset, "--out", out, *SIZES, "--json", *more)
    assert done.returncode == 0, done.stderr
    return open_store(out), json.loads(done.stdout)


def all_rows(store: Store, hook: str) -> np.ndarray:
    return np.concatenate([store.rows(hook, shard) for split in ("train", "heldout") for shard in store.shards(split)])


def distance(store: Store, other: Store, hook: str) -> float:
    a, b = all_rows(store, hook).astype(np.float64), all_rows(other, hook).astype(np.float64)
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def test_bfloat16_harvest_has_the_error_recorded_in_the_store(
    command: Command, random_gpt2: Path, token_file: Path, tmp_path: Path
) -> None:
    exact, _ = harvested(command, random_gpt2, token_file, tmp_path / "a.zarr")
    rounded, facts = harvested(command, random_gpt2, token_file, tmp_path / "b.zarr", "--precision", "bfloat16")
    assert exact.provenance["model"]["precision"] == "float32"
    assert set(exact.provenance["model"]["relative_error"].values()) == {0.0}
    assert rounded.provenance["model"]["precision"] == facts["precision"] == "bfloat16"
    for hook_facts in facts["hooks"]:
        assert 1e-3 < hook_facts["relative_error"] < 2e-2
        assert distance(rounded, exact, hook_facts["hook"]) == pytest.approx(hook_facts["relative_error"], rel=0.2)


@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling for a CPU needs g++")
def test_compiled_model_gives_the_same_values_to_rounding(
    command: Command, random_gpt2: Path, token_file: Path, tmp_path: Path
) -> None:
    layers = ("--layers", "0")
    plain, _ = harvested(command, random_gpt2, token_file, tmp_path / "a.zarr", *layers)
    compiled, facts = harvested(command, random_gpt2, token_file, tmp_path / "b.zarr", *layers, "--compile", "yes")
    assert not plain.provenance["model"]["compiled"]
    assert compiled.provenance["model"]["compiled"]
    assert facts["compile_seconds"] > 0
    assert compiled.layout.n_contexts % 8  # the last batch is smaller, and is not compiled for
    for hook in plain.hooks:
        assert distance(compiled, plain, hook) < 1e-5
