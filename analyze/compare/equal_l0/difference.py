"""The difference between two sides in one measure, at one L0 and hook, with what chance can make of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analyze.compare.equal_l0.matched import Matched
from analyze.statistics import jackknife, replicas
from analyze.statistics.cells import EQUIVALENCE_LEVEL
from analyze.statistics.estimates import FEWEST_DEGREES
from analyze.statistics.jackknife import LEVEL, Float
from analyze.statistics.replicas import ReplicaPlan, Variances

FEWEST_SEEDS = 3  # for a verdict on a single layer
TWO_SEEDS = "two seeds decide means over layers only"


@dataclass(frozen=True)
class Difference:
    """second − first of two sides' replicas.

    at_first, at_second: the sides' means over the replicas.
    values: the differences of paired replicas, [seeds].
    replicates: the same without each group, [seeds, groups].
    shares: each group's share of the rows, [groups].
    interpolation_error, leave_one_out_error: the sums of the sides' (see `Matched`).
    """

    at_first: float
    at_second: float
    values: Float
    replicates: Float
    shares: Float
    interpolation_error: float = 0.0
    leave_one_out_error: float = 0.0

    @property
    def value(self) -> float:
        """The mean difference over the seeds."""
        return float(self.values.mean())

    @property
    def n_seeds(self) -> int:
        """The number of seeds."""
        return len(self.values)

    @property
    def n_groups(self) -> int:
        """The number of documents."""
        return len(self.shares)

    @property
    def effective_groups(self) -> float:
        """The number of documents of equal length that would weigh as much."""
        return jackknife.effective_groups(self.shares)

    @cached_property
    def variances(self) -> Variances:
        """The variances over seeds and documents."""
        return replicas.variances(self.values, self.replicates, self.shares)

    def half_width(self, level: float = LEVEL) -> float:
        """Return the half-width of the interval, the interpolation's own error included."""
        return self.variances.half_width(level) + self.interpolation_error

    @property
    def largest_plausible(self) -> float:
        """The largest |difference| in the interval of the equivalence test."""
        return abs(self.value) + self.half_width(EQUIVALENCE_LEVEL)

    @property
    def detectable(self) -> float:
        """The smallest detectable difference."""
        return self.variances.smallest_detectable_difference() + self.interpolation_error

    @property
    def p_value(self) -> float:
        """The two-sided p-value of no difference beyond the interpolation's error."""
        return self.variances.p_value(max(abs(self.value) - self.interpolation_error, 0.0))

    @property
    def overturning_spread(self) -> float | None:
        """The seed spread from which one seed's difference would no longer be decided; None with several seeds."""
        if self.n_seeds > 1:
            return None
        return replicas.overturning_seed_spread(
            self.value, self.interpolation_error, self.variances.groups, self.variances.group_degrees
        )

    def why_undecidable(self, margin: float = 0.0) -> str:
        """Return why the difference decides nothing against a margin, whatever its p-value; empty if it may."""
        if self.n_groups and self.variances.group_degrees < FEWEST_DEGREES:
            return f"too few documents: {self.variances.group_degrees:.1f} degrees of freedom, not {FEWEST_DEGREES:g}"
        if self.leave_one_out_error > abs(margin or self.value) / 2:
            whole = "margin" if margin else "difference"
            return f"leave-one-out error {self.leave_one_out_error:.2g} is more than half of the {whole}"
        return TWO_SEEDS if 1 < self.n_seeds < FEWEST_SEEDS else ""

    def plan(self, level: float) -> ReplicaPlan | None:
        """Return the number of seeds and effective groups that would decide such a difference; None if no number would.

        level: of the interval that must exclude 0.
        """
        distance = abs(self.value) - self.interpolation_error
        if distance <= 0:
            return None
        enough = self.effective_groups * max(1.0, FEWEST_DEGREES / max(self.variances.group_degrees, 1.0))
        cheapest = replicas.plan(self.variances, self.n_seeds, self.effective_groups, distance, level)
        return cheapest and ReplicaPlan(max(cheapest.seeds, FEWEST_SEEDS), max(cheapest.groups, int(np.ceil(enough))))


def difference(first: Matched, second: Matched) -> Difference:
    """Return second − first. Replicas of the same seeds are paired, or in their order if no two have the same."""
    common = [key for key in first.estimates if key in second.estimates]
    n = min(len(first.estimates), len(second.estimates))
    of_first, of_second = (
        [side.estimates[key] for key in common] if common else list(side.estimates.values())[:n]
        for side in (first, second)
    )  # fmt: skip
    values = np.array([[estimate.value for estimate in side] for side in (of_first, of_second)])
    replicates = np.array([[estimate.replicates for estimate in side] for side in (of_first, of_second)])
    return Difference(
        float(values[0].mean()), float(values[1].mean()), values[1] - values[0], replicates[1] - replicates[0],
        of_first[0].shares, first.interpolation_error + second.interpolation_error,
        first.leave_one_out_error + second.leave_one_out_error,
    )  # fmt: skip
