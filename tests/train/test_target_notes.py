"""What `train` says about trainings that are too short for L0 to reach its target."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tests.analyze.experiments import experiment
from tests.helpers.fixture_types import LocalStore
from tests.helpers.trainings import WIDTHS
from train import train
from train.command.grid import make_runs
from train.command.target_notes import missed_targets, short_training
from train.experiment import Experiment
from train.optim.schedule import Schedule
from train.output.files.checked import Extent, write_checked
from train.output.run_folder import SAE_FILE, CheckpointInfo, RunFolder, read_info
from train.sae.l0_controller import L0Correction

HOOKS = [*WIDTHS]


def with_targets(n_steps: int, *variants: str, targets: tuple[float, ...] = (8.0,)) -> Experiment:
    made = experiment(HOOKS)
    runs = make_runs((), {"variant": variants, "target_l0": targets})
    return replace(made, runs=runs, schedule=Schedule(n_steps * made.batch_size))


def write_final(out: Path, run: str, *l0_before: float) -> None:
    """Write the file of a run's final weights that has the corrections at HOOKS, from these L0."""
    corrections = {
        hook: L0Correction(64, l0, 8.0, 0.0, 0.1) for hook, l0 in zip(HOOKS, l0_before, strict=True)
    }  # fmt: skip
    final = RunFolder(out / run).final
    final.mkdir(parents=True)
    info = CheckpointInfo(1, files={SAE_FILE: Extent(0, "")}, corrections=corrections)
    write_checked(final / "state.json", asdict(info))


def test_training_of_fewer_than_1000_steps_is_short_if_a_coefficient_is_adjusted() -> None:
    sentence = short_training(with_targets(999, "topk", "baseline"))
    assert sentence is not None
    assert sentence.startswith("999 steps: adjusting the coefficient to --target-l0 takes 1000 to 2000 (")
    assert short_training(with_targets(1000, "topk", "baseline")) is None
    assert short_training(with_targets(999, "topk", "batchtopk")) is None


def test_missed_targets_are_counted_and_the_farthest_is_named(tmp_path: Path) -> None:
    made = with_targets(10, "baseline", "topk", targets=(8.0, 16.0))
    write_final(tmp_path, "baseline_target_l0=8", 9.5, 110.0)
    write_final(tmp_path, "baseline_target_l0=16", 12.7, 17.0)
    assert missed_targets(tmp_path, made) == (
        "L0 of 2 of 4 SAEs was more than 20 % from its target before the last shift (110 for a target of 8 in "
        f"baseline_target_l0=8, hook {HOOKS[1]}); train longer"
    )


def test_targets_within_20_percent_and_runs_that_diverged_are_not_missed(tmp_path: Path) -> None:
    made = with_targets(10, "baseline", "relu")
    write_final(tmp_path, "baseline", 9.5, 6.5)
    assert missed_targets(tmp_path, made) is None


def test_training_says_so_before_and_after_it_unless_it_is_quiet(
    store: LocalStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings: dict[str, Any] = {
        "variant": "baseline", "target_l0": 5, "expansion": 4, "batch_size": 64, "activations": 640, "layers": "0",
        "snapshots": 0, "device": "cpu",
    }  # fmt: skip
    train(store.path, **settings, out=tmp_path / "said")
    before = read_info(tmp_path / "said" / "baseline" / "final").corrections[HOOKS[0]].l0_before
    printed = capsys.readouterr().err
    first, last = "10 steps: adjusting the coefficient", f"last shift ({before:.3g} for a target of 5 in baseline, hook"
    assert 0 <= printed.find(first) < printed.find(last)
    train(store.path, **settings, out=tmp_path / "said")
    assert capsys.readouterr().err == ""  # nothing was left to train
    train(store.path, **settings, out=tmp_path / "quiet", quiet=True)
    assert capsys.readouterr().err == ""
