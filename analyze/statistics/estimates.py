"""Measured values with their bootstrap replicates, so differences and ratios of them have paired intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analyze.statistics.bootstrap import RESAMPLES, Float, interval
from analyze.tables import Row

if TYPE_CHECKING:
    from analyze.runs.trained_run import TrainedRun


class Key(NamedTuple):
    """What an estimate is of: a measure of a run's SAE at a hook, noise off or on, on a subset of the positions."""

    run: str
    hook: str
    noise: bool
    subset: str
    measure: str


@dataclass(frozen=True)
class Estimate:
    """A value and its replicates, float64 [resamples].

    groups: count of the groups (documents, layers) that were resampled; infinite for an exact value.

    Two estimates are paired if their replicates come from the same groups and seed.
    """

    value: float
    replicates: Float
    groups: float = math.inf

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval (low, high)."""
        return interval(self.replicates)


Estimates = dict[Key, Estimate]


def estimates_of_sae(
    values: Mapping[str, Float], replicates: Mapping[str, Float], sae: tuple[str, str, bool, str], n_groups: int
) -> Estimates:
    """Return the estimates of one SAE's measures.

    values: [] by measure. replicates: [resamples] by measure. sae: run, hook, noise and subset.
    """
    return {Key(*sae, name): Estimate(float(value), replicates[name], n_groups) for name, value in values.items()}


def fewest_groups(estimates: Sequence[Estimate]) -> float:
    """Return the smallest count of groups; infinity for an empty list."""
    return min((estimate.groups for estimate in estimates), default=math.inf)


def mean_of(estimates: Sequence[Estimate]) -> Estimate | None:
    """Return the mean of paired estimates, replicate by replicate; None for an empty list."""
    if not estimates:
        return None
    replicates = np.mean([e.replicates for e in estimates], axis=0)
    return Estimate(float(np.mean([e.value for e in estimates])), replicates, fewest_groups(estimates))


def difference(first: Estimate, second: Estimate) -> Estimate:
    """Return first − second, of paired estimates."""
    return Estimate(first.value - second.value, first.replicates - second.replicates, fewest_groups([first, second]))


def ratio(first: Estimate, second: Estimate) -> Estimate:
    """Return first / second, of paired estimates."""
    return Estimate(first.value / second.value, first.replicates / second.replicates, fewest_groups([first, second]))


def log_ratio(first: Estimate, second: Estimate) -> Estimate:
    """Return log(first / second), of paired estimates. Ratios are averaged as logarithms, so 2 and ½ cancel."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = ratio(first, second)
        return Estimate(float(np.log(quotient.value)), np.log(quotient.replicates), quotient.groups)


def excess(logarithm: Estimate) -> Estimate:
    """Return a ratio minus 1, from the ratio's logarithm."""
    return Estimate(float(np.expm1(logarithm.value)), np.expm1(logarithm.replicates), logarithm.groups)


def exact_estimate(value: float) -> Estimate:
    """Return an estimate without sampling error, such as a count over a whole dictionary."""
    return Estimate(value, np.full(RESAMPLES, value))


@dataclass(frozen=True)
class MeasureRow:
    """One value of a table of measures, with its 95 % interval from `low` to `high`."""

    run: str
    variant: str
    hook: str
    noise: bool
    subset: str
    measure: str
    value: float
    low: float
    high: float


def measure_rows(estimates: Estimates, runs: Sequence[TrainedRun]) -> list[MeasureRow]:
    """Return one row per estimate."""
    variants = {run.name: run.variant for run in runs}
    return [
        MeasureRow(
            key.run, variants[key.run], key.hook, key.noise, key.subset, key.measure, estimate.value,
            *estimate.interval,
        )
        for key, estimate in estimates.items()
    ]  # fmt: skip


def estimate_rows(estimates: Estimates, runs: Sequence[TrainedRun]) -> list[Row]:
    """Return the same rows as dictionaries, for JSON and CSV."""
    return [dict(vars(row)) for row in measure_rows(estimates, runs)]
