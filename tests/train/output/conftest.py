"""A training of 15 steps with a restart of dead features after step 8, begun by one command line, and its result."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.fixture_types import Command, LocalStore
from tests.helpers.trainings import Start

OPTIONS = [
    "--variant", "baseline,nsae", "--expansion", "4", "--batch-size", "64", "--activations", "1k", "--validate-every",
    "512", "--log-every", "256", "--window", "512", "--resample-interval", "512", "--resample-window", "256",
    "--resample-threshold", "0.02", "--resample-rows", "256", "--snapshots", "2", "--device", "cpu",
]  # fmt: skip


@pytest.fixture(scope="session")
def start(store: LocalStore, command: Command) -> Start:
    """Run `train` with these options in this process; returns its exit code and what it printed to standard error."""

    def run(out: Path, *more: str) -> tuple[int, str]:
        done = command("train", "--store", store.path, "--out", out, *OPTIONS, *more)
        return done.returncode, done.stderr

    return run


@pytest.fixture(scope="session")
def finished(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the finished experiment, which the tests only read."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    code, said = start(out)
    assert code == 0, said
    return out
