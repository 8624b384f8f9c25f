"""--overwrite keeps the old experiment until the new one has trained two steps, and one process at a time writes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data.errors import InputError
from data.system.lock import lock_path, locked
from tests.helpers.fixture_types import Command, MakeStore
from tests.helpers.killing import Killed, kill_at
from train.loop.trainer import Trainer

SMALL = [
    "--variant", "baseline,nsae", "--expansion", "4", "--batch-size", "64", "--activations", "1k", "--validate-every",
    "512", "--log-every", "512", "--window", "512", "--snapshots", "2", "--device", "cpu",
]  # fmt: skip


@pytest.fixture
def store(make_store: MakeStore) -> Path:
    return make_store(n_contexts=80, widths={"blocks.0.hook_mlp_out": 16})[0].path


Start = Callable[..., tuple[int, str]]


@pytest.fixture
def start(store: Path, command: Command, tmp_path: Path) -> Start:
    def run(*more: str, out: str = "runs") -> tuple[int, str]:
        done = command("train", "--store", store, "--out", tmp_path / out, *SMALL, *more)
        return done.returncode, done.stderr

    return run


def files(out: Path) -> dict[str, bytes]:
    found = {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    return {name: content for name, content in found.items() if name not in ("timing.jsonl", "experiment.json")}


def test_overwrite_keeps_the_old_experiment_if_the_first_step_fails(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert start()[0] == 0
    before = files(tmp_path / "runs")

    def fail(*arguments: Any, **more: Any) -> None:
        raise InputError("a mistake")

    monkeypatch.setattr(Trainer, "_step", fail)
    code, said = start("--overwrite", "--seed", "1")
    assert code == 2
    assert "Error: a mistake" in said
    assert files(tmp_path / "runs") == before
    assert not list(tmp_path.glob("runs.*"))


def test_overwrite_keeps_the_old_experiment_if_the_new_one_diverges_at_once(start: Start, tmp_path: Path) -> None:
    assert start()[0] == 0
    before = files(tmp_path / "runs")
    code, said = start("--overwrite", "--lr", "1e30")
    assert code == 2
    assert "stays as it is; give a smaller --lr" in said
    assert files(tmp_path / "runs") == before
    assert not list(tmp_path.glob("runs.*"))


@pytest.mark.parametrize("at_call", range(1, 8))
def test_overwrite_killed_while_replacing_is_completed_by_the_same_command(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_call: int
) -> None:
    """The runs' checkpoints are renamed, then the two experiments, then final weights."""
    assert start()[0] == 0
    with monkeypatch.context() as patched:
        kill_at(patched, os, "rename", at_call)
        with pytest.raises(Killed):
            start("--overwrite", "--seed", "1")
    code, said = start("--overwrite", "--seed", "1")
    assert code == 0, said
    assert start("--seed", "1", out="fresh")[0] == 0
    assert files(tmp_path / "runs") == files(tmp_path / "fresh")
    assert not list(tmp_path.glob("runs.*"))


def test_overwrite_continues_an_unfinished_experiment_and_replaces_a_finished_one(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert start()[0] == 0
    steps: list[int] = []
    step = Trainer._step

    def counted(self: Trainer, *arguments: Any, **options: Any) -> Any:
        steps.append(self.step)
        return step(self, *arguments, **options)

    monkeypatch.setattr(Trainer, "_step", counted)
    with monkeypatch.context() as patched:
        kill_at(patched, Trainer, "_step", 9)
        with pytest.raises(Killed):
            start("--overwrite", "--checkpoint-minutes", "0")
    assert steps == list(range(8))
    steps.clear()
    assert start("--overwrite")[0] == 0
    assert steps == list(range(8, 15))
    steps.clear()
    assert start("--overwrite")[0] == 0
    assert steps == list(range(15))


def test_dashboard_opened_after_the_first_step_has_its_measures(start: Start, tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert start()[0] == 0
    assert start("--overwrite", "--log", "tensorboard")[0] == 0
    events = event_accumulator.EventAccumulator(str(tmp_path / "runs" / "nsae" / "tensorboard"))
    events.Reload()
    first = events.Scalars("train/blocks.0.hook_mlp_out/loss")[0]
    lines = (tmp_path / "runs" / "nsae" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert (first.step, first.value) == (64, pytest.approx(json.loads(lines[0])["loss"]))


def test_training_in_a_locked_folder_is_refused(start: Start, tmp_path: Path) -> None:
    with locked(lock_path(tmp_path / "runs"), "--out"):
        code, said = start()
    assert code == 2
    assert f"another process is writing there (process {os.getpid()} on " in said
    assert not (tmp_path / "runs").exists()
