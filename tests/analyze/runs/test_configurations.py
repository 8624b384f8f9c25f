"""Replicas, which differ only in their seeds, form one configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from analyze.runs.configurations import configurations
from analyze.runs.trained_run import TrainedRun
from tests.analyze.experiments import experiment
from train.experiment import Run
from train.output.run_folder import RunFolder
from train.output.settings import RunSettings
from train.variants import BaselineSettings

HOOK = "blocks.0.hook_mlp_out"


def run(name: str, l1: float = 1.0, *, seed: int = 0, data_seed: int = 0, expansion: float = 4.0) -> TrainedRun:
    run_settings = Run(name, "baseline", 1e-3, seed, "none", BaselineSettings(l1, 0))
    settings = replace(experiment([HOOK]), runs=(run_settings,), data_seed=data_seed, expansion=expansion)
    return TrainedRun(name, RunFolder(Path("runs") / name), RunSettings(settings, provenance={}), trained=96)


def named(*runs: TrainedRun) -> dict[str, list[str]]:
    return {point.name: [replica.name for replica in point.replicas] for point in configurations(runs)}


def test_runs_that_differ_only_in_seed_or_data_seed_form_one_configuration_without_the_seed_in_its_name() -> None:
    assert named(
        run("baseline_l1=1_seed=1", seed=1), run("baseline_l1=2_seed=0", 2.0), run("baseline_l1=1_seed=0"),
        run("data_seed=3/baseline_l1=1_seed=0", data_seed=3), run("baseline_l1=2_seed=12", 2.0, seed=12),
    ) == {
        "baseline_l1=1": ["baseline_l1=1_seed=0", "baseline_l1=1_seed=1", "data_seed=3/baseline_l1=1_seed=0"],
        "baseline_l1=2": ["baseline_l1=2_seed=0", "baseline_l1=2_seed=12"],
    }  # fmt: skip


def test_a_configuration_of_one_run_has_the_runs_name() -> None:
    assert named(run("baseline_seed=4", seed=4), run("other", expansion=8.0)) == {
        "baseline_seed=4": ["baseline_seed=4"], "other": ["other"],
    }  # fmt: skip


def test_configurations_of_the_same_short_name_have_the_names_of_their_first_runs() -> None:
    small = [run(f"small/baseline_seed={seed}", seed=seed) for seed in (0, 1)]
    large = [run(f"large/baseline_seed={seed}", seed=seed, expansion=8.0) for seed in (0, 1)]
    assert list(named(*small, *large)) == ["small/baseline", "large/baseline"]
    alike = [run(f"baseline_seed={seed}", 1.0 + seed // 2, seed=seed) for seed in range(4)]
    assert list(named(*alike)) == ["baseline_seed=0", "baseline_seed=2"]


def test_a_second_training_with_the_same_seeds_is_no_replica() -> None:
    first, copy = run("first/baseline"), run("second/baseline")
    (alike,) = configurations([first, copy])
    assert (alike.name, alike.replicas, alike.copies, alike.runs) == (
        "first/baseline",
        (first,),
        (copy,),
        [first, copy],
    )


def test_replicas_in_experiments_of_their_own_are_named_by_their_folder() -> None:
    runs = [run(f"{folder}/baseline", seed=seed) for seed, folder in enumerate(("monday", "tuesday"))]
    assert named(*runs) == {"baseline": ["monday/baseline", "tuesday/baseline"]}


def test_a_configuration_is_as_far_trained_as_its_least_trained_replica() -> None:
    (configuration,) = configurations([run("baseline_seed=0"), replace(run("baseline_seed=1", seed=1), trained=40)])
    assert (configuration.trained, configuration.planned, configuration.finished) == (40, 96, False)
