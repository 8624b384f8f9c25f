"""A training that is killed, at any step and however often, ends with the same weights and metrics bit for bit."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from safetensors.torch import load_file

from train.cli import main
from train.loop.trainer import Trainer
from train.output.manifests import Manifests
from train.step.sae_stack import SAEStack

# Resampling, noise, validation and several epochs all happen within these steps; checkpoints come often.
SETTINGS = [
    "--variant", "baseline,nsae", "--l1", "0.01", "--expansion", "4", "--batch-size", "64", "--activations", "12k",
    "--validate-every", "2k", "--log-every", "128", "--window", "1k", "--resample-interval", "3k",
    "--resample-window", "2k", "--resample-threshold", "0.02", "--resample-rows", "512", "--snapshots", "3",
    "--checkpoint-minutes", "0.005", "--device", "cpu",
]  # fmt: skip


def start(store: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "train", "--store", str(store), "--out", str(out), *SETTINGS, *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def results(out: Path) -> dict[str, bytes]:
    """All files but those of the clock."""
    files = {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    return {name: content for name, content in files.items() if name not in ("timing.jsonl", "experiment.json")}


def newest_checkpoint(out: Path) -> str:
    return max((path.stem for path in out.glob("checkpoints/*.json")), default="")


@pytest.fixture(scope="module")
def store(make_store_in, tmp_path_factory: pytest.TempPathFactory) -> Path:
    widths = {"blocks.0.hook_mlp_out": 16, "blocks.1.hook_mlp_out": 16}
    return make_store_in(n_contexts=80, widths=widths, root=tmp_path_factory.mktemp("store"))[0].path


@pytest.fixture(scope="module")
def uninterrupted(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    process = start(store, out)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return out


def test_training_killed_at_random_steps_ends_with_the_same_files(
    store: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    out, rng, kills = tmp_path / "killed", random.Random(0), 0
    while kills < 2:
        before = newest_checkpoint(out)
        process = start(store, out)
        while process.poll() is None and newest_checkpoint(out) == before:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.5))
        process.kill()
        process.communicate()
        kills += 1
        if (out / "nsae" / "final").exists():  # it was faster than the kill: begin again
            subprocess.run(["rm", "-r", str(out)], check=True)
    process = start(store, out)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert results(out) == results(uninterrupted)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_training_stopped_by_a_signal_is_continued_to_the_same_files(
    store: Path, uninterrupted: Path, tmp_path: Path, number: int, code: int
) -> None:
    out = tmp_path / "stopped"
    process = start(store, out)
    while not (out / "timing.jsonl").exists():
        time.sleep(0.005)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == code, errors
    assert "the same command continues" in errors
    assert "Traceback" not in errors
    process = start(store, out)
    assert process.wait() == 0, process.stderr.read()
    assert results(out) == results(uninterrupted)


def test_training_stopped_in_a_validation_or_restart_repeats_it_on_resume(
    store: Path, uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, stops = tmp_path / "stopped", [threading.Event()]

    def stopping(name: str, at_call: int) -> None:
        whole, calls = getattr(SAEStack, name), []

        def method(*arguments: Any) -> Any:
            calls.append(name)
            if len(calls) == at_call:
                stops[-1].set()
            return whole(*arguments)

        monkeypatch.setattr(SAEStack, name, method)

    train = Trainer.train
    monkeypatch.setattr(Trainer, "train", lambda self, stop: train(self, stops[-1]))
    stopping("measure", 5)
    stopping("row_losses", 3)
    pending = []
    for code in (75, 75, 0):
        stops.append(threading.Event())
        assert CliRunner().invoke(main, ["--store", str(store), "--out", str(out), *SETTINGS]).exit_code == code
        if code:
            pending.append(Manifests(out / "checkpoints").names()[-1].partition("-")[2])
    assert pending == ["validation", "restart"]
    assert results(out) == results(uninterrupted)


def test_resampling_and_noise_took_part(uninterrupted: Path) -> None:
    """Else the tests above would show less than they say."""
    state = load_file(uninterrupted / "nsae" / "final" / "state.safetensors")
    assert (state["exp_avg.b_enc"] == 0).sum() < state["exp_avg.b_enc"].numel()
    assert "since_resampling.current" in state
