"""Means over layers of each configuration: which layers count, and that the values are those of the runs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analyze.compare.layer_means import layer_mean_rows
from analyze.runs.configurations import configurations, of_configurations
from analyze.statistics.estimates import Estimate, Estimates, Key
from tests.analyze.compare.equal_l0.made_up import HOOKS, family

RUNS = [*family("baseline", 2, (1.0, 2.0)), *family("nsae", 1)]
CONFIGURATIONS = configurations(RUNS)


def measured(*, undefined: tuple[str, str] | None = None, silent: str | None = None) -> Estimates:
    """Return L0 and explained variance of all runs: undefined at (run, hook), and without features that fire."""
    estimates = Estimates()
    for i, run in enumerate(RUNS):
        for j, hook in enumerate(HOOKS):
            l0 = 0.0 if run.name == silent else 10.0 * (i + 1) + j
            value = math.nan if (run.name, hook) == undefined else 0.5 + 0.1 * i + 0.01 * j
            for noise in run.noises:
                estimates[Key(run.name, hook, noise, "all", "l0")] = Estimate(l0)
                estimates[Key(run.name, hook, noise, "all", "explained_variance")] = Estimate(value - 0.1 * noise)
    return of_configurations(estimates, CONFIGURATIONS)


def test_mean_over_layers_is_that_of_all_replicas_and_layers() -> None:
    rows = layer_mean_rows(measured(), CONFIGURATIONS, "held_out")
    first = rows[0]
    assert {key: getattr(first, key) for key in ("sample", "family", "layers", "noise", "seeds", "measure")} == {
        "sample": "held_out", "family": "baseline", "layers": 6, "noise": False, "seeds": 2,
        "measure": "explained_variance",
    }  # fmt: skip
    assert first.l0 == pytest.approx(np.mean([10 * i + j for i in (1, 2) for j in range(6)]))
    assert first.value == pytest.approx(np.mean([0.5 + 0.1 * i + 0.01 * j for i in (0, 1) for j in range(6)]))
    assert first.low < first.value < first.high
    assert [row.l0 for row in rows[:2]] == sorted(row.l0 for row in rows[:2])


def test_mean_over_layers_is_taken_with_noise_off_and_on_of_runs_with_noise() -> None:
    rows = layer_mean_rows(measured(), CONFIGURATIONS, "held_out")
    values = {row.noise: row.value for row in rows if row.family == "nsae"}
    assert values[True] == pytest.approx(values[False] - 0.1)
    assert not any(row.noise for row in rows if row.family == "baseline")


def test_layer_in_which_one_configuration_is_undefined_counts_for_none() -> None:
    rows = layer_mean_rows(measured(undefined=(RUNS[0].name, HOOKS[2])), CONFIGURATIONS, "held_out")
    assert {row.layers for row in rows} == {5}


def test_configuration_that_never_fires_has_no_mean() -> None:
    rows = layer_mean_rows(measured(silent=RUNS[-1].name), CONFIGURATIONS, "held_out")
    assert {row.family for row in rows} == {"baseline"}
