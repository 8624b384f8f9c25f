"""Estimates over replicas: trainings that differ only in the seed, all measured on the same groups of rows.

Seeds and groups are crossed. The variance of the mean over S seeds has three parts: the seeds' (V_s, the variance of
the seeds' values over S), the groups' (V_d, the jackknife's variance of the mean over seeds), and their interaction
(V_i), which is inside both. The half-width of the interval is Howe's (1974) for a sum of variances of few degrees of
freedom each: √(t²_{S−1} V_s + t²_f max(V_d − V_i, 0)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri, stdtrit

from analyze.statistics.jackknife import LEVEL, Float, critical_value, degrees_of_freedom

POWER = 0.8
MOST_SEEDS = 20  # most seeds that a plan proposes
MOST_TIMES_THE_GROUPS = 1000  # most groups that a plan proposes, in multiples of those measured
SMALLEST_P = 1e-12


@dataclass(frozen=True)
class Variances:
    """The variance of a mean over seeds, in its parts.

    seeds: variance of the seeds' values, over the number of seeds; 0 with one seed.
    groups: the jackknife's variance of the mean over seeds; 0 for an exact value.
    interaction: the interaction's part of both.
    seed_degrees, group_degrees: degrees of freedom of the first two.
    """

    seeds: float
    groups: float
    interaction: float
    seed_degrees: float
    group_degrees: float

    def half_width(self, level: float = LEVEL) -> float:
        """Return Howe's half-width of the interval; without `seeds`, the jackknife's."""
        groups = max(self.groups - self.interaction, 0.0)
        return math.sqrt(
            _squared(self.seeds, self.seed_degrees, level) + _squared(groups, self.group_degrees, level)
        )  # fmt: skip

    def smallest_detectable_difference(self, level: float = LEVEL, power: float = POWER) -> float:
        """Return the true difference whose interval excludes 0 in a share `power` of repetitions."""
        width = math.sqrt(
            _squared(self.seeds, self.seed_degrees, level) + _squared(self.groups, self.group_degrees, level)
        )
        return width + float(ndtri(power)) * math.sqrt(self.seeds + self.groups)

    def p_value(self, distance: float) -> float:
        """Return the two-sided p-value of a distance ≥ 0 from the null: 1 − the level whose half-width equals it."""
        if math.isnan(distance) or math.isnan(self.half_width()):
            return math.nan
        if distance <= 0 or self.half_width(SMALLEST_P) >= distance:
            return 1.0
        if self.half_width(1 - SMALLEST_P) <= distance:
            return SMALLEST_P
        return float(brentq(lambda p: self.half_width(1 - p) - distance, SMALLEST_P, 1 - SMALLEST_P))

    def p_above(self, value: float, margin: float) -> float:
        """Return the one-sided p-value of the claim that the mean is above a margin, which may be negative."""
        tail = self.p_value(abs(value - margin)) / 2
        return tail if value > margin else 1 - tail

    def p_beyond(self, value: float, margin: float) -> float:
        """Return the p-value of the claim that the mean is outside ±margin. The null hypothesis is a mean at it."""
        return min(1.0, self.p_above(abs(value), margin) + self.p_above(abs(value), -margin))


def _squared(variance: float, degrees: float, level: float) -> float:
    """Return (t √variance)²; 0 for a variance of 0, whatever its degrees of freedom."""
    return critical_value(degrees, level) ** 2 * variance if variance != 0 else 0.0


def variances(values: Float, replicates: Float, shares: Float) -> Variances:
    """Return the variances of the mean over seeds.

    values: each seed's value, [seeds]. replicates: the values without each group, [seeds, groups]; no groups for exact
    values. shares: each group's share of the rows, [groups].
    """
    n_seeds = len(values)
    groups, interaction = _group_variances(replicates)
    seeds = float(np.var(values, ddof=1)) / n_seeds if n_seeds > 1 else 0.0
    return Variances(seeds, groups, interaction, n_seeds - 1, degrees_of_freedom(shares))


def variances_over_layers(values: Float, replicates: Float, shares: Float) -> Variances:
    """Return the variances of the mean over layers and seeds.

    Each layer's SAEs vary with the seed independently of the other layers', so the seeds' variance of the mean is a sum
    over the layers.

    values: [layers, seeds]. replicates: the values without each group, [layers, seeds, groups]. shares: [groups].
    """
    n_layers, n_seeds = values.shape
    groups, interaction = _group_variances(replicates.mean(axis=0))
    of_layers = np.var(values, axis=1, ddof=1) if n_seeds > 1 else np.zeros(n_layers)
    seeds = float(of_layers.mean()) / (n_layers * n_seeds)
    return Variances(seeds, groups, interaction, satterthwaite(of_layers, n_seeds - 1), degrees_of_freedom(shares))


def satterthwaite(variances: Float, degrees: float) -> float:
    """Return the degrees of freedom of the sum of variances that have `degrees` each (Satterthwaite, 1946).

    They are those of all together if the variances are alike, and fewer if a few are largest.
    """
    largest = variances.max()
    relative = variances / largest if largest else np.ones_like(variances)  # squares of small variances would underflow
    return degrees * float(relative.sum() ** 2 / (relative**2).sum())


def _group_variances(replicates: Float) -> tuple[float, float]:
    """Return the jackknife's variance of the mean over seeds, and the interaction's part of it."""
    n_seeds, n_groups = replicates.shape
    if not n_groups:
        return 0.0, 0.0
    if n_groups == 1:
        return math.nan, math.nan
    deviations = replicates - replicates.mean(axis=1, keepdims=True)
    covariance = (n_groups - 1) / n_groups * deviations @ deviations.T
    groups = float(covariance.mean())
    if n_seeds == 1:
        return groups, 0.0
    of_one_seed = float(np.trace(covariance)) / n_seeds
    shared = (float(covariance.sum()) - of_one_seed * n_seeds) / (n_seeds * (n_seeds - 1))
    return groups, (of_one_seed - shared) / n_seeds


def overturning_seed_spread(value: float, margin: float, groups: float, group_degrees: float) -> float:
    """Return the standard deviation over seeds from which one seed's |value| > margin would no longer be decided.

    It is 0 if the groups alone leave that undecided. groups: the jackknife's variance of the value.
    """
    t = critical_value(group_degrees)
    return math.sqrt(max(((abs(value) - margin) / t) ** 2 - groups, 0.0)) if abs(value) > margin else 0.0


@dataclass(frozen=True)
class ReplicaPlan:
    """The number of seeds, and of effective groups (1 over the sum of the squared shares), that would decide."""

    seeds: int
    groups: int


def plan(measured: Variances, seeds: int, groups: float, distance: float, level: float = LEVEL) -> ReplicaPlan | None:
    """Return the cheapest plan, in seeds × groups, whose smallest detectable difference is at most `distance`.

    A plan has no fewer seeds and groups than were measured. With one seed their spread is unknown, so the plan has one
    too. None if no plan with up to MOST_SEEDS seeds is enough.

    seeds, groups: how many seeds and effective groups were measured. distance: from the value to the margin, > 0.
    level: of the interval.
    """
    group_counts = np.unique(np.ceil(groups * np.geomspace(1, MOST_TIMES_THE_GROUPS, 500)))
    n_seeds = np.arange(seeds, MOST_SEEDS + 1 if measured.seeds else seeds + 1)
    of_seeds = measured.seeds * seeds / n_seeds
    width_of_seeds = _squared_each(of_seeds, np.asarray(n_seeds - 1, dtype=np.float64), level)
    low, high = np.zeros_like(n_seeds), np.full_like(n_seeds, len(group_counts))  # bisection, for all seeds at once
    while (low < high).any():
        middle = np.minimum((low + high) // 2, len(group_counts) - 1)
        n_groups = group_counts[middle]
        of_groups = measured.groups * groups / n_groups
        width = np.sqrt(width_of_seeds + _squared_each(of_groups, n_groups - 1, level))
        decides = width + ndtri(POWER) * np.sqrt(of_seeds + of_groups) <= distance
        open_ = low < high
        high = np.where(open_ & decides, middle, high)
        low = np.where(open_ & ~decides, middle + 1, low)
    plans = [
        ReplicaPlan(int(n), int(group_counts[fewest]))
        for n, fewest in zip(n_seeds, low, strict=True)
        if fewest < len(group_counts)
    ]
    return min(plans, key=lambda plan: (plan.seeds * plan.groups, plan.seeds), default=None)


def _squared_each(variances: Float, degrees: Float, level: float) -> Float:
    """Return `_squared` of each variance."""
    t = stdtrit(np.maximum(degrees, 1.0), (1 + level) / 2)
    return np.where(variances == 0, 0.0, np.where(degrees > 0, t**2 * variances, np.inf))
