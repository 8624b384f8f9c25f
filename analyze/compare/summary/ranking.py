"""The ranking of architectures in a measure at one L0: the best, and those that are tied with it.

The best is the one with the best mean over the layers. Another is tied with it unless its mean is decided to be worse:
unless the p-value of the difference of the two means, over seeds and documents, is at most 5 %.

All pairs of architectures are corrected together by Holm, rather than those with the best alone: the best was chosen
by its value. So among architectures that do not differ, one is called worse in at most 5 % of the experiments.

A pair's own estimate of the seeds' degrees of freedom is too large where one layer varies most, but happens to vary
little in this pair; over many pairs this happens often. They are therefore at most those of layers that vary as all
pairs do on average.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from analyze.compare.equal_l0.comparison import SIGNIFICANCE, why_unfit
from analyze.compare.equal_l0.difference import TWO_SEEDS, Difference, difference
from analyze.compare.equal_l0.matched import Matched, MatchedSide
from analyze.compare.equal_l0.mean import mean_of_differences
from analyze.compare.summary.summary import BEST, NO_MARK, TIED
from analyze.runs.settled import DriftsBySae
from analyze.statistics.cells import holm, most
from analyze.statistics.estimates import Estimate
from analyze.statistics.layer_mean import LayerMean
from analyze.statistics.replicas import satterthwaite
from train.measures import measure_of

Gaps = Mapping[str, Difference]  # differences of one pair, by hook


@dataclass(frozen=True)
class Ranking:
    """The order of architectures in one measure at one L0.

    costs: by architecture, its mean over the layers as a cost: lower is better.
    best: the architecture with the lowest cost.
    p_worse: by each other architecture, the corrected p-value of being worse than the best; 1 if the layers that may be
        decided rather say that it is better.
    excess: by each other architecture, its cost less that of the best, over the layers that may be decided; None if
        these are not most of the layers.
    undecidable: by each other architecture, why other layers decide nothing, each reason once.
    hooks: the layers.
    """

    costs: Mapping[str, float]
    best: str
    p_worse: Mapping[str, float]
    excess: Mapping[str, LayerMean | None]
    undecidable: Mapping[str, Sequence[str]]
    hooks: Sequence[str]

    @property
    def tied(self) -> list[str]:
        """The architectures that are tied with the best, in the order of their means."""
        return sorted((name for name, p in self.p_worse.items() if p > SIGNIFICANCE), key=lambda n: self.costs[n])

    @property
    def n_pairs(self) -> int:
        """The number of pairs of architectures that are corrected for."""
        return len(self.costs) * (len(self.costs) - 1) // 2

    def mark(self, name: str) -> str:
        """Return the mark of an architecture; none if it is not ranked. What equals the best, as counts do, is best."""
        if self.costs.get(name) == self.costs[self.best]:
            return BEST
        return TIED if name in self.tied else NO_MARK


def rank(sides: Sequence[MatchedSide], hooks: Sequence[str], drifts: DriftsBySae) -> Ranking | None:
    """Rank sides by a measure over hooks; None with fewer than two sides, without hooks, or if no value is better.

    It is also None for exact counts of one seed, because nothing tells by how much they vary.

    sides: of one measure and L0, each with a finite value at all hooks.
    """
    cost = _cost_function(sides[0].measure) if sides else None
    if cost is None or len(sides) < 2 or not hooks:
        return None
    if any(_is_exact_count_of_one_seed(side.by_hook[hook]) for side in sides for hook in hooks):
        return None
    costs = {side.name: {hook: cost(side.by_hook[hook]) for hook in hooks} for side in sides}
    means = {name: float(np.mean([_mean(of_side[hook]) for hook in hooks])) for name, of_side in costs.items()}
    best = min(means, key=lambda name: means[name])
    others = [name for name in costs if name != best]
    pairs = [(best, name) for name in others] + list(combinations(others, 2))
    gaps, reasons = {}, {}
    for pair in pairs:
        gaps[pair], reasons[pair] = decidable(costs[pair[0]], costs[pair[1]], hooks, drifts)
    differences = mean_differences(gaps, len(hooks))
    p = [p_value(mean) if mean else 1.0 for mean in differences.values()]
    adjusted = dict(zip(pairs, holm(np.array(p)).tolist(), strict=True))
    excess = {name: differences[best, name] for name in others}
    return Ranking(
        means, best, {name: adjusted[best, name] if mean and mean.value > 0 else 1.0 for name, mean in excess.items()},
        excess, {name: reasons[best, name] for name in others}, list(hooks),
    )  # fmt: skip


def decidable(
    first: Mapping[str, Matched], second: Mapping[str, Matched], hooks: Sequence[str], drifts: DriftsBySae
) -> tuple[Gaps, list[str]]:
    """Return the differences of two sides in the layers that may be decided, and why others may not."""
    gaps, reasons = {}, dict[str, None]()
    for hook in hooks:
        gap, runs = difference(first[hook], second[hook]), [*first[hook].runs, *second[hook].runs]
        reason = why_unfit(runs, drifts, hook) or gap.why_undecidable()
        if reason in ("", TWO_SEEDS):
            gaps[hook] = gap
        else:
            reasons[reason.partition(":")[0]] = None
    return gaps, list(reasons)


def mean_differences(gaps: Mapping[tuple[str, str], Gaps], n_layers: int) -> dict[tuple[str, str], LayerMean | None]:
    """Return the mean difference of each pair, second − first, over the layers that may be decided.

    It is None for a pair without most of the layers.

    gaps: the differences in the layers that may be decided. n_layers: how many layers there are.
    """
    hooks = dict.fromkeys(hook for of_pair in gaps.values() for hook in of_pair)
    spread = {
        hook: float(np.mean([of_pair[hook].variances.seeds for of_pair in gaps.values() if hook in of_pair]))
        for hook in hooks
    }

    def mean_of(of_pair: Gaps) -> LayerMean:
        mean = mean_of_differences(list(of_pair.values()))
        usual = satterthwaite(np.array([spread[hook] for hook in of_pair]), mean.n_seeds - 1)
        degrees = min(usual, mean.variances.seed_degrees)
        return replace(mean, variances=replace(mean.variances, seed_degrees=degrees))

    return {pair: mean_of(of_pair) if len(of_pair) >= most(n_layers) else None for pair, of_pair in gaps.items()}


def p_value(mean: LayerMean) -> float:
    """Return the two-sided p-value of no mean difference beyond the interpolation's error; 1 if it is unknown."""
    p = mean.variances.p_value(max(abs(mean.value) - mean.bias, 0.0))
    return 1.0 if np.isnan(p) else p


def _cost_function(measure: str) -> Callable[[Matched], Matched] | None:
    """Return the function from a measure to a cost, which is lower if the measure is better; None if none is better."""
    better = measure_of(measure).better
    if better == "lower":
        return lambda matched: matched
    if better == "higher":
        return lambda matched: _linear(matched, -1.0, 0.0)
    if better is None:
        return None
    ideal = 1.0 if better == "near 1" else 0.0
    return lambda matched: _linear(matched, 1.0 if _mean(matched) >= ideal else -1.0, ideal)


def _is_exact_count_of_one_seed(matched: Matched) -> bool:
    return len(matched.estimates) == 1 and all(np.ptp(one.replicates) == 0 for one in matched.estimates.values())


def _mean(matched: Matched) -> float:
    return float(np.mean([estimate.value for estimate in matched.estimates.values()]))


def _linear(matched: Matched, factor: float, ideal: float) -> Matched:
    """Return factor · (measure − ideal)."""
    return replace(
        matched, estimates={seeds: _moved(estimate, factor, ideal) for seeds, estimate in matched.estimates.items()}
    )  # fmt: skip


def _moved(estimate: Estimate, factor: float, ideal: float) -> Estimate:
    return replace(
        estimate, value=factor * (estimate.value - ideal), replicates=factor * (estimate.replicates - ideal)
    )  # fmt: skip
