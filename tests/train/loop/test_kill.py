"""A training that is killed, at any step and however often, ends with the same weights and metrics bit for bit."""

from __future__ import annotations

import random
import shutil
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from tests.helpers.fixture_types import Command, LocalStore
from tests.helpers.processes.zygote import Running, Zygote
from tests.helpers.trainings import results
from train.cli import main
from train.loop import resample
from train.loop.trainer import Trainer
from train.output.manifests import Manifests
from train.sae import SAE
from train.step.noise import NoiseSource
from train.step.sae_stack import SAEStack

pytestmark = pytest.mark.long

# Resampling, noise, validation and several epochs all happen within these steps; checkpoints come often.
SETTINGS = [
    "--variant", "baseline,nsae", "--l1", "0.01", "--expansion", "4", "--batch-size", "64", "--activations", "6k",
    "--validate-every", "1k", "--log-every", "128", "--window", "500", "--resample-interval", "1500",
    "--resample-window", "1k", "--resample-threshold", "0.02", "--resample-rows", "512", "--snapshots", "3",
    "--checkpoint-minutes", "0.002", "--layers", "0", "--device", "cpu",
]  # fmt: skip


class Uninterrupted(NamedTuple):
    """A training that nothing disturbed; `restarted` and `noises` count restarted features and draws of noise."""

    out: Path
    restarted: int
    noises: int


def start(zygote: Zygote, store: LocalStore, out: Path) -> Running:
    return zygote.start("train", "--store", store.path, "--out", out, *SETTINGS, folder=out.parent)


def finish(zygote: Zygote, store: LocalStore, out: Path) -> None:
    ended = start(zygote, store, out).wait()
    assert ended.code == 0, ended.stderr


def newest_checkpoint(out: Path) -> str:
    return max((path.stem for path in out.glob("checkpoints/*.json")), default="")


@pytest.fixture(scope="module")
def uninterrupted(store: LocalStore, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Uninterrupted:
    out, counts = tmp_path_factory.mktemp("runs") / "whole", Counter[str]()
    restart, noise_batch = resample.restart_features, NoiseSource.batch

    def counting_restart(sae: SAE, features: Any, x: Any) -> None:
        counts["restarted"] += len(features)
        restart(sae, features, x)

    def counting_batch(self: NoiseSource, *key: int) -> Any:
        counts["noises"] += 1
        return noise_batch(self, *key)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(resample, "restart_features", counting_restart)
        patched.setattr(NoiseSource, "batch", counting_batch)
        done = command("train", "--store", store.path, "--out", out, *SETTINGS)
    assert done.returncode == 0, done.stderr
    return Uninterrupted(out, counts["restarted"], counts["noises"])


def test_training_killed_at_random_steps_ends_with_the_same_files(
    zygote: Zygote, store: LocalStore, uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    out, rng, kills = tmp_path / "killed", random.Random(0), 0
    while kills < 2:
        before = newest_checkpoint(out)
        process = start(zygote, store, out)
        while process.poll() is None and newest_checkpoint(out) == before:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.5))
        process.kill()
        kills += process.wait().code == -signal.SIGKILL
        if (out / "nsae" / "final").exists():  # it ended before the kill: begin again
            shutil.rmtree(out)
    finish(zygote, store, out)
    assert results(out) == results(uninterrupted.out)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_training_stopped_by_a_signal_is_continued_to_the_same_files(
    zygote: Zygote, store: LocalStore, uninterrupted: Uninterrupted, tmp_path: Path, number: int, code: int
) -> None:
    out = tmp_path / "stopped"
    process = start(zygote, store, out)
    while process.poll() is None and not (out / "timing.jsonl").exists():
        time.sleep(0.005)
    process.kill(number)
    stopped = process.wait()
    assert stopped.code == code, stopped.stderr
    assert "the same command continues" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    finish(zygote, store, out)
    assert results(out) == results(uninterrupted.out)


def test_training_stopped_in_a_validation_or_restart_repeats_it_on_resume(
    store: LocalStore, uninterrupted: Uninterrupted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
        assert CliRunner().invoke(main, ["--store", str(store.path), "--out", str(out), *SETTINGS]).exit_code == code
        if code:
            pending.append(Manifests(out / "checkpoints").names()[-1].partition("-")[2])
    assert pending == ["validation", "restart"]
    assert results(out) == results(uninterrupted.out)


def test_the_killed_training_restarts_features_and_draws_noise(uninterrupted: Uninterrupted) -> None:
    """Otherwise the tests above would not cover them."""
    assert uninterrupted.restarted > 0
    assert uninterrupted.noises >= 6_000 // 64  # once per step at least
