"""Measured values with what resampling made of them, so that differences and ratios of them have paired intervals.

Not here: how they are measured (evaluate.py, patching.py), resampling itself (bootstrap.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from analyze.runs.trained_run import TrainedRun
from analyze.statistics.bootstrap import RESAMPLES, Float, interval
from analyze.tables import Row


class Key(NamedTuple):
    """What was measured: a run's SAE at a hook, with noise or without, on a subset of the positions."""

    run: str
    hook: str
    noise: bool
    subset: str
    measure: str


@dataclass(frozen=True)
class Estimate:
    """A value, and its replicates [resamples]: those of two estimates are paired where they have the same groups.

    `groups` is of how many groups (documents, layers) the replicates are resamples; infinity of what is exact.
    """

    value: float
    replicates: Float
    groups: float = math.inf

    @property
    def interval(self) -> tuple[float, float]:
        return interval(self.replicates)


Estimates = dict[Key, Estimate]


def estimates_of_sae(
    values: Mapping[str, Float], replicates: Mapping[str, Float], key: tuple[str, str, bool, str], n_groups: int
) -> Estimates:
    """Estimates of several measures of one SAE: values [] and replicates [resamples] by name."""
    return {Key(*key, name): Estimate(float(value), replicates[name], n_groups) for name, value in values.items()}


def fewest_groups(estimates: Sequence[Estimate]) -> float:
    """Of the estimates that another one is made of."""
    return min((estimate.groups for estimate in estimates), default=math.inf)


def mean_of(estimates: Sequence[Estimate]) -> Estimate | None:
    """Their mean, resampled together: they must be paired. None of none."""
    if not estimates:
        return None
    replicates = np.mean([e.replicates for e in estimates], axis=0)
    return Estimate(float(np.mean([e.value for e in estimates])), replicates, fewest_groups(estimates))


def difference(one: Estimate, other: Estimate) -> Estimate:
    """one − other, paired."""
    return Estimate(one.value - other.value, one.replicates - other.replicates, fewest_groups([one, other]))


def ratio(one: Estimate, other: Estimate) -> Estimate:
    """one / other, paired."""
    return Estimate(one.value / other.value, one.replicates / other.replicates, fewest_groups([one, other]))


def log_ratio(one: Estimate, other: Estimate) -> Estimate:
    """log(one / other), paired: what ratios are averaged as, so that twice and half come to nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = ratio(one, other)
        return Estimate(float(np.log(found.value)), np.log(found.replicates), found.groups)


def excess(logarithm: Estimate) -> Estimate:
    """A ratio less 1, of its logarithm."""
    return Estimate(float(np.expm1(logarithm.value)), np.expm1(logarithm.replicates), logarithm.groups)


def exact(value: float) -> Estimate:
    """A count of everything there is, which resampling does not change."""
    return Estimate(value, np.full(RESAMPLES, value))


def estimate_rows(estimates: Estimates, runs: Sequence[TrainedRun]) -> list[Row]:
    """One line a value, for tables and files."""
    variants = {run.name: run.variant for run in runs}
    return [
        {"run": key.run, "variant": variants[key.run], "hook": key.hook, "noise": key.noise, "subset": key.subset,
         "measure": key.measure, "value": estimate.value,
         **dict(zip(("low", "high"), estimate.interval, strict=True))}
        for key, estimate in estimates.items()
    ]  # fmt: skip
