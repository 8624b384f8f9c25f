"""A training that a signal stops while it waits for rows, such as those of an object store that is away."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from data.errors import Stopped
from tests.helpers.fixture_types import Command, LocalStore
from tests.helpers.trainings import SHORT, results, train_runs
from train.output.manifests import Manifests
from train.step.inputs import Inputs, inputs

OPTIONS = ["--variant", "nsae", *SHORT]


def test_training_stopped_while_it_waits_for_rows_saves_its_steps(
    store: LocalStore, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_runs(command, store, tmp_path / "whole", OPTIONS)
    out = tmp_path / "stopped"

    def stopped_after_five(*arguments: Any) -> Iterator[Inputs]:
        yield from islice(inputs(*arguments), 5)
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr("train.loop.trainer.inputs", stopped_after_five)
        done = command("train", "--store", store.path, "--out", out, *OPTIONS)
    assert done.returncode == 75, done.stderr
    assert int(Path(Manifests(out / "checkpoints").names()[-1]).stem) == 5
    train_runs(command, store, out, OPTIONS)
    assert results(out) == results(whole)
