"""Runs are measured on a store of the rows that they were trained on, in whatever type these are stored."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

from analyze.runs.repeat import commands
from analyze.runs.trained_run import find_runs
from data import open_store
from tests.helpers.fixture_types import Command

TRAINING = ("--variant", "topk", "--k", "4", "--expansion", "2", "--batch-size", "64", "--activations", "2k")


@pytest.fixture(scope="module")
def two_types(command: Command, random_gpt2: Path, token_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stores float16.zarr and int8.zarr of the same rows, and runs on each."""
    folder = tmp_path_factory.mktemp("types")
    harvest = ("harvest", "--model", random_gpt2, "--dataset", token_file, "--tokens", "4k", "--context-size", "32")
    for dtype in ("float16", "int8"):
        store = folder / f"{dtype}.zarr"
        for arguments in (
            (*harvest, "--layers", "0", "--dtype", dtype, "--device", "cpu", "--out", store),
            ("train", "--store", store, *TRAINING, "--device", "cpu", "--out", folder / f"runs-{dtype}"),
        ):
            done = command(*arguments)
            assert done.returncode == 0, done.stderr
    return folder


def test_runs_of_a_store_of_the_same_rows_are_measured_on_one_of_them_and_form_a_family_per_stored_type(
    command: Command, two_types: Path
) -> None:
    measured = {}
    for store in ("float16", "int8"):
        done = command(
            "analyze", "compare", "--store", two_types / f"{store}.zarr", two_types / "runs-int8",
            two_types / "runs-float16", "--without-model", "--json",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert {(line["first"], line["second"]) for line in answer["differences"]} == {
            ("topk, dtype int8", "topk, dtype float16")
        }
        measured[store] = [line["value"] for line in answer["differences"] if line["measure"] == "explained_variance"]
    assert measured["float16"] != measured["int8"]  # the held-out rows are the store's that was given


def test_runs_on_another_text_are_refused(
    command: Command, two_types: Path, random_gpt2: Path, token_file: Path, tmp_path: Path
) -> None:
    lines = token_file.read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "reversed.jsonl").write_text("".join(reversed(lines)), encoding="utf-8")
    done = command(
        "harvest", "--model", random_gpt2, "--dataset", tmp_path / "reversed.jsonl", "--tokens", "4k",
        "--context-size", "32", "--layers", "0", "--device", "cpu", "--out", tmp_path / "other.zarr",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = command("analyze", "measures", "--store", tmp_path / "other.zarr", two_types / "runs-int8")
    assert done.returncode == 2
    assert "was trained on another store than" in done.stderr
    assert "with other rows" in done.stderr


def test_printed_commands_harvest_and_train_on_each_store(two_types: Path, tmp_path: Path) -> None:
    runs = find_runs([shutil.copytree(two_types / f"runs-{dtype}", tmp_path / dtype) for dtype in ("float16", "int8")])
    printed = [shlex.split(line) for line in commands(open_store(two_types / "float16.zarr"), runs)]
    assert [line[0] for line in printed] == ["harvest", "harvest", "train", "train"]
    stores = [str(two_types / f"{dtype}.zarr") for dtype in ("float16", "int8")]
    assert [line[line.index("--out") + 1] for line in printed[:2]] == stores
    assert ["int8" in line for line in printed[:2]] == [False, True]
    assert [line[line.index("--store") + 1] for line in printed[2:]] == stores
