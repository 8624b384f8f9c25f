from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib import pyplot

from analyze.compare import targets
from analyze.report.figures.targets import L0_OVER_TARGET, controller_rows, draw_controller
from analyze.runs.configurations import configurations
from analyze.runs.trained_run import TrainedRun, find_runs
from analyze.runs.training_curves import TrainingCurve, training_curves
from analyze.statistics.estimates import MeasureRow
from tests.analyze.compare.claims.made_up import RUNS
from tests.analyze.compare.equal_l0.made_up import replaced_seed
from tests.helpers.fixture_types import Command, LocalStore
from train.variants import TopKSettings

HOOK = "blocks.1.hook_mlp_out"


def with_target(run: TrainedRun, target: float) -> TrainedRun:
    settings: Any = run.settings.run.settings
    configured = replace(run.settings.run, settings=replace(settings, target_l0=target))
    return replace(run, settings=replace(run.settings, experiment=replace(run.settings.experiment, runs=(configured,))))


def row(run: str, hook: str, miss: float) -> targets.TargetRow:
    l0, within = 20 * (1 + miss), abs(miss) <= targets.WITHIN
    return targets.TargetRow(run, "baseline", hook, 20.0, l0, l0, l0, miss, within, None, None, None, None, None)


def test_summary_counts_the_saes_within_2_percent_and_names_the_others() -> None:
    missed = [row("a", "blocks.1.hook_mlp_out", -0.031), row("a", "blocks.2.hook_mlp_out", 0.025)]
    near = [row("a", "blocks.3.hook_mlp_out", 0.02), row("b", "blocks.1.hook_mlp_out", -0.001)]
    assert targets.summary([*missed, *near]) == (
        "2 of 4 SAEs are within 2% of their target L0; these are not: a in layers 1, 2 (-3.1%, +2.5%)."
    )
    assert targets.summary(near) == "2 of 2 SAEs are within 2% of their target L0."
    assert targets.summary([]) == ""


def test_target_of_a_run_is_its_target_l0_or_its_k() -> None:
    topk = replace(RUNS[0].settings.run, variant="topk", settings=TopKSettings(k=7))
    settings = replace(RUNS[0].settings, experiment=replace(RUNS[0].settings.experiment, runs=(topk,)))
    assert [with_target(RUNS[0], 20).target_l0, replace(RUNS[0], settings=settings).target_l0] == [20, 7]
    assert RUNS[0].target_l0 == 0
    measured = MeasureRow(RUNS[0].name, "baseline", HOOK, False, "all", "l0", 1.0, 1.0, 1.0, 1.0)
    assert targets.target_rows([measured], RUNS) == []


@pytest.fixture(scope="module")
def adjusted(
    small_runs: tuple[LocalStore, Path], command: Command, tmp_path_factory: pytest.TempPathFactory
) -> tuple[LocalStore, Path]:
    """(store, experiment's folder): runs at one layer with a target, with a k, and with neither."""
    store, out = small_runs[0], tmp_path_factory.mktemp("targets")
    experiments = {
        "own": ("--variant", "baseline,topk", "--target-l0", "4"), "fixed": ("--variant", "baseline", "--l1", "1e-3"),
    }  # fmt: skip
    for name, options in experiments.items():
        done = command(
            "train", "--store", store.path, "--layers", "1", "--expansion", "2", "--batch-size", "64", "--activations",
            "2k", "--lr", "1e-3", "--device", "cpu", "--snapshots", "0", "--out", out / name, *options,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    return store, out


def test_measures_command_tells_the_miss_of_each_run_with_a_target(
    adjusted: tuple[LocalStore, Path], command: Command
) -> None:
    store, folder = adjusted
    done = command("analyze", "measures", "--store", store.path, folder, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert " of 2 SAEs are within 2% of their target L0" in done.stdout
    table = [row for row in done.stdout.splitlines() if row.startswith(f"| {HOOK} | ")][-2:]
    baseline, topk = ([cell.strip() for cell in row.split("|")[1:-1]] for row in table)
    assert topk[1:3] + topk[5:] == ["topk", "4", "yes", "–", "–", "–", "–"]
    assert baseline[1:3] == ["own/baseline", "4"]
    assert baseline[6] == "4"
    (run,) = find_runs([folder / "own" / "baseline"])
    assert run.corrections()[HOOK].l0 == pytest.approx(4, abs=1e-3)


def test_l0_controller_figure_has_a_row_of_panels_per_configuration_with_a_target(
    adjusted: tuple[LocalStore, Path],
) -> None:
    runs = find_runs([adjusted[1]])
    adjusting = [run for run in runs if run.settings.run.settings.adjusted_to]
    lines = controller_rows(training_curves(runs), configurations(adjusting))
    assert {point.measure for point in lines} == {"coefficient", L0_OVER_TARGET, "loss"}
    assert {point.run for point in lines} == {run.name for run in adjusting}
    figure = draw_controller(lines)
    assert len(figure.axes) == 3
    pyplot.close(figure)


def test_l0_over_target_is_that_of_the_mean_without_noise() -> None:
    run = with_target(RUNS[2], 20)
    curves = [
        TrainingCurve(run.name, HOOK, split, noise, measure, [8, 16], values)
        for split, noise, measure, values in (
            ("train", True, "l0", [50.0, 45.0]), ("train", True, "mean_l0", [40.0, 22.0]),
            ("heldout", False, "mean_l0", [1.0, 1.0]), ("train", True, "coefficient", [1e-3, 2e-3]),
        )
    ]  # fmt: skip
    lines = controller_rows(curves, configurations([run]))
    assert [point.value for point in lines if point.measure == L0_OVER_TARGET] == [2.0, 1.1]
    assert [point.value for point in lines if point.measure == "coefficient"] == [1e-3, 2e-3]


def test_l0_controller_curves_are_means_over_seeds() -> None:
    runs = [replace(replaced_seed(with_target(RUNS[2], 20), seed), name=f"seed={seed}") for seed in (0, 1)]
    curves = [
        TrainingCurve(run.name, HOOK, "train", False, "mean_l0", [8, 16], values)
        for run, values in zip(runs, ([40.0, 22.0], [44.0, 18.0]), strict=True)
    ]
    points = controller_rows(curves, configurations(runs))
    assert len({point.run for point in points}) == 1
    assert [point.value for point in points] == pytest.approx([2.1, 1.0])
