"""The spread between seeds, against NumPy, and the smallest detectable difference, against a simulation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import stdtrit

from analyze.compare.seed_spread import difference_of_replicas, spread_rows
from analyze.runs.configurations import Configuration
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import Estimate, Key, combine, difference, over_replicas
from tests.analyze.experiments import experiment
from train.experiment import Run
from train.output.run_folder import RunFolder
from train.output.settings import RunSettings
from train.variants import BaselineSettings

HOOK, DOCUMENTS = "blocks.0.hook_mlp_out", 40
SHARES = np.full(DOCUMENTS, 1 / DOCUMENTS)


def configuration(name: str, l1: float) -> Configuration:
    run_settings = Run(name, "baseline", 1e-3, 0, "none", BaselineSettings(l1, 0))
    settings = RunSettings(replace(experiment([HOOK]), runs=(run_settings,)), provenance={})
    return Configuration(name, (TrainedRun(name, RunFolder(Path(name)), settings),))


def mean_over_replicas(values: NDArray[np.float64]) -> Estimate:
    """Return the estimate of a mean over documents of equal length, values [seeds, DOCUMENTS]."""
    return over_replicas([
        Estimate(float(replica.mean()), (replica.sum() - replica) / (DOCUMENTS - 1), SHARES) for replica in values
    ])  # fmt: skip


def test_spread_is_that_of_the_differences_between_a_configurations_own_seeds() -> None:
    values = np.array([1.0, 1.5, 1.1])
    of_seeds = mean_over_replicas(np.repeat(values[:, None], DOCUMENTS, axis=1))
    estimates = {
        Key("b", HOOK, False, "all", "l2"): of_seeds,
        Key("b", HOOK, True, "all", "l2"): of_seeds,  # with noise: not shown
        Key("b", HOOK, False, "without 0", "l2"): of_seeds,
        Key("single", HOOK, False, "all", "l2"): of_seeds.replicas[0],
    }
    (row,) = spread_rows(estimates, [configuration("b", 1.0), configuration("single", 2.0)], "held_out")
    assert {name: getattr(row, name) for name in ("sample", "family", "run", "hook", "measure", "seeds")} == {
        "sample": "held_out", "family": "baseline", "run": "b", "hook": HOOK, "measure": "l2", "seeds": 3,
    }  # fmt: skip
    assert row.value == pytest.approx(1.2)
    assert row.std == pytest.approx(values.std(ddof=1))
    assert (row.mean, row.largest) == pytest.approx(((0.5 + 0.1 + 0.4) / 3, 0.5))
    error = np.sqrt(2 * values.var(ddof=1) / 3)  # documents do not vary
    assert row.detectable == pytest.approx((stdtrit(2, 0.975) + 0.8416212) * error)


def test_the_smallest_detectable_difference_is_found_in_four_of_five_repetitions_and_none_seldom() -> None:
    rng, n_seeds = np.random.default_rng(0), 5
    detectable, n_detected, false = [], 0, 0
    for _ in range(300):
        documents = rng.normal(size=DOCUMENTS)
        first, second = (
            mean_over_replicas(
                documents + 0.2 * rng.normal(size=(n_seeds, 1)) + 0.5 * rng.normal(size=(n_seeds, DOCUMENTS))
            )
            for _ in range(2)
        )
        detectable.append(difference_of_replicas(first).smallest_detectable_difference())
        gap = difference(second, first)
        false += not gap.interval[0] <= 0 <= gap.interval[1]
        moved = combine(lambda x: x + np.float64(0.51), [gap])  # by the formula with the true variances
        n_detected += moved.interval[0] > 0
    assert np.median(detectable) == pytest.approx(0.5, abs=0.08)
    assert false / 300 <= 0.08
    assert 0.7 <= n_detected / 300 <= 0.95
