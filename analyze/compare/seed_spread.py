"""The differences between replicas, which differ only in their seeds: a measure of how much training varies.

A difference between architectures is to be judged against the difference between two copies of one architecture. The
smallest detectable difference of such replicas, with as many seeds on each side as were trained, says how large a
difference must be to be detected. Its variance over seeds is twice that of one side. Over documents only the
interaction remains, because both sides are measured on the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from analyze.runs.configurations import Configuration
from analyze.runs.families import families
from analyze.statistics.estimates import Estimate, Estimates
from analyze.statistics.replicas import Variances
from data.store.stats import Subset
from train.measures import MEASURES, Shown

COMPARED = ("l0", *(measure.name for measure in MEASURES if Shown.AT_EQUAL_L0 in measure.shown))


@dataclass(frozen=True)
class SpreadRow:
    """The differences between the replicas of a configuration in a measure at a hook, noise off.

    sample: what was measured on.
    value, std: mean and standard deviation over the replicas.
    mean, largest: of |difference| over all pairs of replicas.
    detectable: the smallest detectable difference between two configurations with as many seeds.
    """

    sample: str
    family: str
    run: str
    hook: str
    measure: str
    value: float
    seeds: int
    std: float
    mean: float
    largest: float
    detectable: float


def spread_rows(estimates: Estimates, configurations: Sequence[Configuration], sample: str) -> list[SpreadRow]:
    """Return one row per configuration of several replicas, hook and measure (the table `seed_spread`).

    estimates: of configurations (`of_configurations`). sample: what they were measured on.
    """
    family_of = {
        configuration.name: family for family, members in families(configurations).items() for configuration in members
    }
    return [
        SpreadRow(
            sample, family_of[key.run], key.run, key.hook, key.measure, estimate.value, estimate.n_seeds,
            *_differences(estimate), difference_of_replicas(estimate).smallest_detectable_difference(),
        )
        for key, estimate in estimates.items()
        if estimate.n_seeds > 1 and not key.noise and key.subset == Subset.ALL and key.measure in COMPARED
    ]  # fmt: skip


def difference_of_replicas(estimate: Estimate) -> Variances:
    """Return the variances of the difference between two configurations that differ only in their replicas' seeds.

    estimate: of one of them, with several replicas.
    """
    variances = estimate.variances
    interaction = 2 * max(variances.interaction, 0.0)
    return Variances(2 * variances.seeds, interaction, interaction, variances.seed_degrees, variances.group_degrees)


def _differences(estimate: Estimate) -> tuple[float, float, float]:
    """Return the standard deviation of the replicas, and the mean and largest difference between two of them."""
    values = np.array([replica.value for replica in estimate.replicas])
    gaps = np.array([abs(first - second) for first, second in combinations(values, 2)])
    return float(values.std(ddof=1)), float(gaps.mean()), float(gaps.max())
