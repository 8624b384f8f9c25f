"""Measures that go to TensorBoard and Weights & Biases as well."""

from __future__ import annotations

import shutil
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import train.loop.trainer
from tests.helpers.fixture_types import Command, LocalStore
from tests.helpers.trainings import SHORT, Start, records


@pytest.mark.parametrize("log", ["tensorboard", "wandb"])
def test_training_logs_measures_to_dashboards(
    store: LocalStore, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: str
) -> None:
    pytest.importorskip(log, reason=f"{log} is not installed (an extra)")
    monkeypatch.setenv("WANDB_MODE", "offline")
    done = command(
        "train", "--store", store.path, "--variant", "nsae", *SHORT, "--out", tmp_path / "runs", "--log", log
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / ("nsae/tensorboard" if log == "tensorboard" else "wandb")
    assert [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size > 1000]


def test_resumed_experiment_continues_its_wandb_run(
    store: LocalStore, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[dict[str, Any]] = []

    class Dashboard:
        def log(self, measures: dict[str, float], step: int) -> None:
            pass

        def finish(self) -> None:
            pass

    def init(**arguments: Any) -> Dashboard:
        begun.append(arguments)
        return Dashboard()

    module = ModuleType("wandb")
    module.__spec__ = ModuleSpec("wandb", None)
    vars(module)["init"] = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    options = ["--store", store.path, "--variant", "nsae", *SHORT, "--log", "wandb", "--out"]
    with monkeypatch.context() as patched:
        patched.setattr(train.loop.trainer.Trainer, "_validate", lambda self, bar, stop: stop.set() or False)
        assert command("train", *options, tmp_path / "runs").returncode == 75
    assert command("train", *options, tmp_path / "runs").returncode == 0
    assert command("train", *options, tmp_path / "others").returncode == 0
    first, second, other = (one["id"] for one in begun)
    assert first == second != other
    assert {one["resume"] for one in begun} == {"allow"}


def test_dashboard_opened_after_the_first_step_has_its_measures(start: Start, finished: Path, tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    out = shutil.copytree(finished, tmp_path / "runs")
    assert start(out, "--overwrite", "--log", "tensorboard")[0] == 0
    events = event_accumulator.EventAccumulator(str(out / "nsae" / "tensorboard"))
    events.Reload()
    first = events.Scalars("train/blocks.0.hook_mlp_out/loss")[0]
    recorded = records(out / "nsae" / "metrics.jsonl")[0]
    assert (first.step, first.value) == (64, pytest.approx(recorded["loss"]))
    for term in ("l2", "l1"):
        (value, *_) = events.Scalars(f"train/blocks.0.hook_mlp_out/loss_{term}")
        assert value.value == pytest.approx(recorded[f"loss_{term}"])
