"""--overwrite keeps the old experiment until the new one has trained two steps, and one process at a time writes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from data.errors import InputError
from data.system.lock import lock_path, locked
from tests.helpers.processes.killing import Killed, kill_at
from tests.helpers.trainings import Start, results
from train.loop.trainer import Trainer


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished experiment, alone in its folder."""
    return shutil.copytree(finished, tmp_path / "runs")


@pytest.fixture(scope="module")
def replacement(start: Start, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the files of the training with another seed, which replaces the finished one."""
    out = tmp_path_factory.mktemp("runs") / "fresh"
    assert start(out, "--seed", "1")[0] == 0
    return results(out)


def test_overwrite_keeps_the_old_experiment_if_the_first_step_fails(
    start: Start, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = results(out)

    def fail(*arguments: Any, **more: Any) -> None:
        raise InputError("a mistake")

    monkeypatch.setattr(Trainer, "_step", fail)
    code, said = start(out, "--overwrite", "--seed", "1")
    assert code == 2
    assert "Error: a mistake" in said
    assert results(out) == before
    assert not list(out.parent.glob("runs.*"))


def test_overwrite_keeps_the_old_experiment_if_the_new_one_diverges_at_once(start: Start, out: Path) -> None:
    before = results(out)
    code, said = start(out, "--overwrite", "--lr", "1e30")
    assert code == 2
    assert "stays as it is; give a smaller --lr" in said
    assert results(out) == before
    assert not list(out.parent.glob("runs.*"))


@pytest.mark.parametrize("at_call", [1, 2, 3, 4, 5, 11])
def test_overwrite_killed_while_replacing_is_completed_by_the_same_command(
    start: Start, out: Path, replacement: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, at_call: int
) -> None:
    """Renames 1 and 2 are those of checkpoints, 3 and 4 of the experiments, 5 of a snapshot, 11 of final weights."""
    with monkeypatch.context() as patched:
        kill_at(patched, os, "rename", at_call)
        with pytest.raises(Killed):
            start(out, "--overwrite", "--seed", "1")
    code, said = start(out, "--overwrite", "--seed", "1")
    assert code == 0, said
    assert results(out) == replacement
    assert not list(out.parent.glob("runs.*"))


def test_overwrite_continues_an_unfinished_experiment_and_replaces_a_finished_one(
    start: Start, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    step = Trainer._step

    def counted(self: Trainer, *arguments: Any, **options: Any) -> Any:
        steps.append(self.step)
        return step(self, *arguments, **options)

    monkeypatch.setattr(Trainer, "_step", counted)
    with monkeypatch.context() as patched:
        kill_at(patched, Trainer, "_step", 9)
        with pytest.raises(Killed):
            start(out, "--overwrite", "--checkpoint-minutes", "0")
    assert steps == list(range(8))
    steps.clear()
    assert start(out, "--overwrite")[0] == 0
    assert steps == list(range(8, 15))
    steps.clear()
    assert start(out, "--overwrite")[0] == 0
    assert steps == list(range(15))


def test_training_in_a_locked_folder_is_refused(start: Start, tmp_path: Path) -> None:
    with locked(lock_path(tmp_path / "runs"), "--out"):
        code, said = start(tmp_path / "runs")
    assert code == 2
    assert f"another process is writing there (process {os.getpid()} on " in said
    assert not (tmp_path / "runs").exists()
