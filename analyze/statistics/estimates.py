"""Measured values with a replicate per group of rows, so functions of them have paired intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analyze.statistics import jackknife
from analyze.statistics.jackknife import LEVEL, Float
from analyze.statistics.replicas import Variances, variances
from train.measures import possible

if TYPE_CHECKING:
    from analyze.runs.trained_run import TrainedRun

FEWEST_DEGREES = 7.0  # of freedom; an interval of fewer decides nothing. About 12 documents of uneven length have 7


def _no_groups() -> Float:
    return np.empty(0)


class Key(NamedTuple):
    """The key of an estimate: a measure of a run's SAE at a hook, noise off or on, on a subset of the positions."""

    run: str
    hook: str
    noise: bool
    subset: str
    measure: str


@dataclass(frozen=True)
class Estimate:
    """A statistic of groups of rows, such as documents. An exact value, such as a count of features, has no groups.

    The estimate of a configuration of several replicas (seeds) is the mean over them. Its interval covers the choice of
    seeds and groups, crossed; that of a single run covers the choice of groups.

    value: the statistic of all groups.
    replicates: the statistic without each group, float64 [groups].
    shares: each group's share of the rows, float64 [groups]; they add up to 1.
    bias: largest error of the value that more groups would not remove, such as an interpolation's.
    replicas: the estimates of the replicas, at least two; empty for a single run.
    """

    value: float
    replicates: Float = field(default_factory=_no_groups)
    shares: Float = field(default_factory=_no_groups)
    bias: float = 0.0
    replicas: tuple[Estimate, ...] = ()

    @property
    def exact(self) -> bool:
        """True if there are no groups, as for an exact count: then there is no interval over documents."""
        return len(self.shares) == 0

    @property
    def n_seeds(self) -> int:
        """The number of replicas that it is the mean of."""
        return len(self.replicas) or 1

    @property
    def variances(self) -> Variances:
        """Its variance over seeds and groups; NaN where a replicate is not finite."""
        single_runs = self.replicas or (self,)
        values, replicates = (
            np.array([getattr(estimate, name) for estimate in single_runs]) for name in ("value", "replicates")
        )
        return variances(values, replicates, self.shares)

    @property
    def standard_error(self) -> float:
        """The jackknife's standard error; 0 for an exact value, NaN where a replicate is not finite."""
        return 0.0 if self.exact else float(jackknife.standard_error(self.replicates))

    @property
    def degrees_of_freedom(self) -> float:
        """Bell and McCaffrey's degrees of freedom; infinite for an exact value."""
        return math.inf if self.exact else jackknife.degrees_of_freedom(self.shares)

    @property
    def effective_groups(self) -> float:
        """1/Σh²: how many groups of equal size would weigh as much; infinite for an exact value."""
        return math.inf if self.exact else jackknife.effective_groups(self.shares)

    @property
    def decisive(self) -> bool:
        """True if there are enough groups for an interval that decides anything."""
        return self.degrees_of_freedom >= FEWEST_DEGREES

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval (low, high)."""
        return self.interval_at(LEVEL)

    def interval_at(self, level: float) -> tuple[float, float]:
        """Return the interval (low, high) at a level; NaN where it is unknown."""
        half_width = self.bias + self.variances.half_width(level)
        return self.value - half_width, self.value + half_width


Estimates = dict[Key, Estimate]


def estimates_of_sae(
    values: Mapping[str, Float], replicates: Mapping[str, Float], shares: Float, sae: tuple[str, str, bool, str]
) -> Estimates:
    """Return the estimates of one SAE's measures.

    values: [] by measure. replicates: [groups] by measure. shares: [groups]. sae: run, hook, noise and subset.
    """
    return {Key(*sae, name): Estimate(float(value), replicates[name], shares) for name, value in values.items()}


def combine(function: Callable[..., NDArray[Any]], estimates: Sequence[Estimate]) -> Estimate:
    """Return a function of paired estimates, applied to their values and to their replicates without each group.

    An exact value is paired with any estimate. Biases are propagated by moving one value at a time. Replicas are paired
    in their order, as many as all estimates have; if one has a single run, the result is that of single runs.

    function: elementwise, of one array per estimate.

    Raises ValueError if the estimates come from different groups.
    """
    shares = next((estimate.shares for estimate in estimates if not estimate.exact), _no_groups())
    if not all(estimate.exact or np.array_equal(estimate.shares, shares) for estimate in estimates):
        raise ValueError("estimates from different groups are not paired")
    values = [np.float64(estimate.value) for estimate in estimates]
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(function(*values))
        replicates = function(*(np.full(len(shares), e.value) if e.exact else e.replicates for e in estimates))
        bias = sum(
            abs(float(function(*values[:i], values[i] + estimate.bias, *values[i + 1 :])) - value)
            for i, estimate in enumerate(estimates)
            if estimate.bias
        )
    n_seeds = min((estimate.n_seeds for estimate in estimates), default=1)
    single_runs = [
        combine(function, [estimate.replicas[i] for estimate in estimates]) for i in range(n_seeds) if n_seeds > 1
    ]
    return Estimate(value, np.asarray(replicates), shares, bias, tuple(single_runs))


def over_replicas(estimates: Sequence[Estimate]) -> Estimate:
    """Return the estimate of a configuration from those of its replicas, at least one, in their order."""
    if len(estimates) == 1:
        return estimates[0]
    mean = combine(lambda *values: np.mean(values, axis=0), estimates)
    return replace(mean, replicas=tuple(estimates))


def mean_of(estimates: Sequence[Estimate]) -> Estimate | None:
    """Return the mean of paired estimates; None for an empty list."""
    return combine(lambda *values: np.mean(values, axis=0), estimates) if estimates else None


def difference(first: Estimate, second: Estimate) -> Estimate:
    """Return first − second, of paired estimates."""
    return combine(np.subtract, [first, second])


def ratio(first: Estimate, second: Estimate) -> Estimate:
    """Return first / second, of paired estimates."""
    return combine(np.divide, [first, second])


def log_ratio(first: Estimate, second: Estimate) -> Estimate:
    """Return log(first / second), of paired estimates. Ratios are averaged as logarithms, so 2 and ½ cancel."""
    return combine(lambda a, b: np.log(np.divide(a, b)), [first, second])


def excess(logarithm: Estimate) -> Estimate:
    """Return a ratio minus 1, from the ratio's logarithm."""
    return combine(np.expm1, [logarithm])


def over_points(statistic: Callable[[NDArray[np.int64]], float], n_points: int) -> Estimate:
    """Return a statistic of points of equal weight, such as layers. statistic: of the indices of points."""
    points = np.arange(n_points)
    replicates = np.array([statistic(np.delete(points, i)) for i in points])
    return Estimate(statistic(points), replicates, np.full(n_points, 1 / n_points))


@dataclass(frozen=True)
class MeasureRow:
    """One value of a table of measures, with its 95 % interval from `low` to `high`.

    effective_groups: how many documents (or contexts) of equal size would weigh as much as those of the interval.
    """

    run: str
    variant: str
    hook: str
    noise: bool
    subset: str
    measure: str
    value: float
    low: float
    high: float
    effective_groups: float


def measure_rows(estimates: Estimates, runs: Sequence[TrainedRun]) -> list[MeasureRow]:
    """Return one row per estimate."""
    variants = {run.name: run.variant for run in runs}
    return [
        MeasureRow(
            key.run, variants[key.run], key.hook, key.noise, key.subset, key.measure, estimate.value,
            *possible(key.measure, *estimate.interval), estimate.effective_groups,
        )
        for key, estimate in estimates.items()
    ]  # fmt: skip
