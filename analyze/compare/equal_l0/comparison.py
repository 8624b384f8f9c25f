"""Compare two sides in one measure at one L0, over layers.

A layer's difference is decided if its p-value, corrected for the number of layers by Holm, is at most 5 %. Several
measures and values of L0 are not corrected for. A layer with an unfinished or unsettled run decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from analyze.compare.equal_l0.difference import TWO_SEEDS, Difference, difference
from analyze.compare.equal_l0.matched import MatchedSide
from analyze.compare.equal_l0.matching import Matching
from analyze.compare.equal_l0.mean import mean_of_differences
from analyze.runs.progress import unfinished
from analyze.runs.settled import Drift, DriftsBySae, drifts_by_sae, has_settled, unsettled
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.cells import holm, signs
from analyze.statistics.layer_mean import LayerMean

SIGNIFICANCE = 0.05
SIDES = {1: "higher", -1: "lower", 0: "undecided"}


@dataclass(frozen=True)
class DifferenceRow:
    """A row of the table of differences. The numbers of a hook that was not compared are None.

    verdict: whether the second side is "higher" or "lower" than the first, "undecided", or "not compared".
    note: why the hook is undecided whatever its p-value, or not compared.
    value: at_second − at_first, with its 95 % interval from `low` to `high`.
    detectable: the smallest detectable difference.
    p_holm: p-value, corrected for the number of hooks; NaN where the difference decides nothing.
    needed_seeds, needed_effective_groups: would decide a difference as large as `value`; None if none is known, and
        where the difference is decided.
    """

    first: str
    second: str
    measure: str
    l0: float
    hook: str
    verdict: str
    note: str
    at_first: float | None = None
    at_second: float | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    detectable: float | None = None
    p_holm: float | None = None
    seeds: int | None = None
    groups: int | None = None
    effective_groups: float | None = None
    degrees_of_freedom: float | None = None
    interpolation_error: float | None = None
    leave_one_out_error: float | None = None
    overturning_seed_spread: float | None = None
    needed_seeds: int | None = None
    needed_effective_groups: int | None = None


@dataclass(frozen=True)
class Comparison:
    """second − first in one measure at one L0.

    hooks: the hooks asked for.
    differences: by hook.
    undecidable: by hook, why the difference decides nothing although it could be computed.
    not_compared: by hook, why there is no difference.
    perhaps_unsettled: hooks at which the log of a run does not tell whether it has settled.
    unit: what intervals are over, "document" or "context".
    """

    first: str
    second: str
    measure: str
    l0: float
    hooks: Sequence[str]
    differences: Mapping[str, Difference]
    undecidable: Mapping[str, str]
    not_compared: Mapping[str, str]
    perhaps_unsettled: Sequence[str]
    unit: str

    @cached_property
    def adjusted_p(self) -> dict[str, float]:
        """The p-value of each layer, corrected by Holm; NaN where the difference decides nothing."""
        p = [np.nan if hook in self.undecidable else d.p_value for hook, d in self.differences.items()]
        return dict(zip(self.differences, holm(np.array(p, dtype=np.float64)).tolist(), strict=True))

    @cached_property
    def verdicts(self) -> dict[str, str]:
        """The decided direction of the second side at each hook: "higher", "lower" or "undecided"."""
        values = np.array([d.value for d in self.differences.values()])
        decided = signs(values, np.array(list(self.adjusted_p.values())), SIGNIFICANCE)
        return {hook: SIDES[int(sign)] for hook, sign in zip(self.differences, decided, strict=True)}

    def with_verdict(self, verdict: str) -> list[str]:
        """Return the hooks with a verdict."""
        return [hook for hook, of_hook in self.verdicts.items() if of_hook == verdict]

    @property
    def n_layers(self) -> int:
        """The number of layers that are compared."""
        return len(self.hooks)

    @property
    def n_seeds(self) -> int:
        """The smallest number of seeds of a difference; 0 without differences."""
        return min((d.n_seeds for d in self.differences.values()), default=0)

    @property
    def any_difference(self) -> Difference:
        """One of the differences, for what they share: the groups."""
        return next(iter(self.differences.values()))

    def mean(self, hooks: Sequence[str]) -> LayerMean:
        """Return the mean difference over hooks, the seeds' variance summed over them."""
        return mean_of_differences([self.differences[hook] for hook in hooks])

    @cached_property
    def mean_of_all(self) -> LayerMean:
        """The mean difference over all layers that are compared, which are at least one."""
        return self.mean(list(self.differences))

    @property
    def of_two_seeds(self) -> bool:
        """True if two seeds decide the mean over the layers, but no single layer."""
        return self.n_layers > 1 and all(self.undecidable.get(hook) == TWO_SEEDS for hook in self.hooks)

    @property
    def may_be_decided(self) -> bool:
        """True if a layer or, with two seeds, the mean over the layers may be decided."""
        return self.of_two_seeds or len(self.undecidable) < len(self.differences)

    def rows(self) -> list[DifferenceRow]:
        """Return a row per hook, also those that were not compared."""
        return [self._row(hook) for hook in self.hooks]

    def _row(self, hook: str) -> DifferenceRow:
        about = self.first, self.second, self.measure, self.l0, hook
        if hook in self.not_compared:
            return DifferenceRow(*about, "not compared", self.not_compared[hook])
        d, verdict = self.differences[hook], self.verdicts[hook]
        corrected = 1 - SIGNIFICANCE / max(len(self.differences) - len(self.undecidable), 1)
        plan = d.plan(corrected) if verdict == "undecided" else None
        return DifferenceRow(
            *about, verdict, self.undecidable.get(hook, ""), d.at_first, d.at_second, d.value,
            d.value - d.half_width(), d.value + d.half_width(), d.detectable, self.adjusted_p[hook], d.n_seeds,
            d.n_groups, d.effective_groups, d.variances.group_degrees, d.interpolation_error, d.leave_one_out_error,
            d.overturning_spread, plan.seeds if plan else None, plan.groups if plan else None,
        )  # fmt: skip


def compare(
    matching: Matching, measures: Sequence[str], l0_values: Sequence[float], drifts: Sequence[Drift], unit: str
) -> list[Comparison]:
    """Compare each two sides at each L0 in each of the measures that was measured, ordered by pair, L0 and measure.

    drifts: how much the runs' measures still change. unit: what the estimates' groups are, "document" or "context".
    """
    by_sae = drifts_by_sae(drifts)
    matched = [matching.at(name, l0) for l0 in l0_values for name in measures if name in matching.samples]
    return [
        compare_matched(sides[i], sides[j], matching.hooks, by_sae, unit)
        for i, j in combinations(range(len(matching.sides)), 2)
        for sides in matched
    ]


def compare_matched(
    first: MatchedSide, second: MatchedSide, hooks: Sequence[str], drifts: DriftsBySae, unit: str
) -> Comparison:
    """Compare two sides in one measure at one L0."""
    differences, undecidable, not_compared = dict[str, Difference](), dict[str, str](), dict[str, str]()
    perhaps_unsettled: list[str] = []
    for hook in hooks:
        reason = first.not_matched.get(hook) or second.not_matched.get(hook)
        if reason is not None:
            not_compared[hook] = reason
            continue
        pair = first.by_hook[hook], second.by_hook[hook]
        differences[hook] = difference(*pair)
        runs = [run for matched in pair for run in matched.runs]
        if why := why_unfit(runs, drifts, hook) or differences[hook].why_undecidable():
            undecidable[hook] = why
        logged = [run.name for run in runs if (run.name, hook) in drifts]
        if any(has_settled(drifts[name, hook], name) is None for name in logged):
            perhaps_unsettled.append(hook)
    return Comparison(
        first.name, second.name, first.measure, first.l0, hooks, differences, undecidable, not_compared,
        perhaps_unsettled, unit,
    )  # fmt: skip


def why_unfit(runs: Sequence[TrainedRun], drifts: DriftsBySae, hook: str) -> str:
    """Return which of the runs are unfinished or unsettled at a hook; empty if none is."""
    missing = unfinished(runs)
    moving = unsettled([drift for run in runs for drift in drifts.get((run.name, hook), ())], runs, hook)
    return f"unfinished: {missing}" if missing else f"not settled: {moving}" if moving else ""
