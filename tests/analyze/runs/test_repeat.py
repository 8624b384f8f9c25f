"""The printed commands, parsed as a shell does, make the runs that the experiment recorded."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from analyze.runs.repeat import commands
from analyze.runs.trained_run import find_runs
from data import open_store
from tests.helpers.fixture_types import Command, MakeStore, TrainSmall


def test_printed_train_command_repeats_the_recorded_runs(
    make_store: MakeStore, train_small: TrainSmall, command: Command, tmp_path: Path
) -> None:
    store, _, _ = make_store(n_contexts=80, widths={"blocks.0.hook_mlp_out": 8}, name="a store's $HOME.zarr")
    out = train_small(
        store, "--variant", "nsae", "--lr", "0.00001234567", "--sigma", "0,0.5", "--seed", "0,7",
        "--snapshots", "0", "--checkpoint-minutes", "0", "--l1-warmup", "0", "--l1-power", "0", "--no-decoder-bias",
        "--clip", "0.5",
    )  # fmt: skip
    moved = out.rename(tmp_path / 'the runs; "here"')
    (train,) = (shlex.split(line) for line in commands(store, find_runs([moved])))  # the store is made up
    recorded = json.loads((moved / "experiment.json").read_text())["settings"]
    shown = command(*train, "--show")
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["runs"] == recorded["runs"]
    done = command(*train)  # all other settings, and the paths
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stderr


def test_printed_harvest_command_repeats_the_store(command: Command, tmp_path: Path) -> None:
    sizes = ("--tokens", "8k", "--context-size", "64", "--layers", "0", "--held-out", "12.5%", "--prefix-token", "bos")
    done = command("harvest", "--model", "demo", *sizes, "--device", "cpu", "--out", tmp_path / "s.zarr")
    assert done.returncode == 0, done.stderr
    (harvest,) = (shlex.split(line) for line in commands(open_store(tmp_path / "s.zarr"), []))
    done = command(*harvest, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stderr


def test_printed_harvest_command_repeats_a_store_of_arrays(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the folder of the arrays is not recorded
    np.save("rows.npy", np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32))
    done = command("harvest", "--activations", "rows.npy", "--hook", "here", "--seed", "3", "--out", "s.zarr")
    assert done.returncode == 0, done.stderr
    (harvest,) = (shlex.split(line) for line in commands(open_store(tmp_path / "s.zarr"), []))
    done = command(*harvest)
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stderr
