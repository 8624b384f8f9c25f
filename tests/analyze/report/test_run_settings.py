"""The report's table of each run's settings."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from analyze.report.data import run_rows
from analyze.report.pages.settings import setting_columns
from analyze.report.pages.training import runs_table
from analyze.runs.trained_run import TrainedRun
from tests.analyze.compare.claims.made_up import RUNS


def with_own(run: TrainedRun, *, clip: float, lr_warmup: int) -> TrainedRun:
    """Return the run with clipping and a warm-up of its own."""
    settings = run.settings
    run_settings = replace(settings.run, clip=clip, lr_warmup=lr_warmup)
    return replace(run, settings=replace(settings, experiment=replace(settings.experiment, runs=(run_settings,))))


def test_each_run_has_the_schedule_and_clipping_that_it_was_trained_with() -> None:
    rows = run_rows([RUNS[0], with_own(RUNS[2], clip=1.0, lr_warmup=50)])
    assert [[row.settings[name] for name in ("clip", "lr_warmup", "lr_decay", "adam_beta1")] for row in rows] == [
        [None, 0, 0, 0.9], [1.0, 50, 0, 0.9]
    ]  # fmt: skip
    assert all(row.settings.keys() == rows[0].settings.keys() for row in rows)


def test_clipping_and_adams_constants_are_shown_only_if_runs_differ_in_them() -> None:
    assert not {"clip", "adam_beta1", "adam_epsilon"} & setting_columns(run_rows(RUNS)).keys()
    shown = setting_columns(run_rows([RUNS[0], with_own(RUNS[2], clip=1.0, lr_warmup=50)]))
    assert "clip" in shown
    assert "adam_beta2" not in shown


def imported(run: TrainedRun) -> TrainedRun:
    """Return the run as if its SAEs were imported and their files said one setting."""
    origins = [{"trained_rows": None}] * len(run.hooks)
    provenance = {"imported": {"format": "saelens", "settings": {"l1_power": 1}, "origins": origins}}
    return replace(run, settings=replace(run.settings, provenance=provenance))


def test_an_imported_run_has_only_the_settings_that_its_files_say() -> None:
    ours, other = run_rows([RUNS[0], imported(RUNS[2])])
    known = {name for name, value in other.settings.items() if value is not None}
    assert known == {"variant", "l1_power", "input_scale", "input_mean", "expansion", "finished"}
    assert {"lr", "batch_size", "seed", "l1", "trained", "precision"} <= {
        name for name, value in ours.settings.items() if value is not None
    }


def test_the_table_of_trainings_has_no_learning_rate_and_coefficient_of_an_imported_run() -> None:
    runs = [RUNS[0], imported(RUNS[2])]
    measurements = SimpleNamespace(families={"baseline": runs}, drifts=[], value=lambda *_: None)
    content: Any = SimpleNamespace(measurements=measurements)
    table = runs_table(content)
    shown = {row[0].text: [cell.text for cell in row[2:5]] for row in table.rows}
    assert shown[runs[0].name][1:] == ["1", "0.001"]
    assert shown[runs[1].name] == ["–", "–", "–"]
