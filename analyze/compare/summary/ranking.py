"""The ranking of architectures in a measure at one L0: the best, and those that are tied with it.

dead.py has the rule for dead shares, which are exact counts.

The best is the one with the best mean over the layers. Another is tied with it unless it is decided to be worse in most
of these layers. A pair's p-value is the larger of two, each doubled because the claim has two directions:

- Seeds and documents: the layers' p-values, combined by the partial conjunction test with Fisher's combination. Layers
  are independent because each SAE starts from its own seed.
- Documents alone: that of the mean over the layers in which the pair differs least, as many as must differ for most of
  all to differ. Its error has the covariance of the layers, which are all measured on the same documents.

All pairs of architectures are corrected together by Holm, rather than those with the best alone: the best was chosen
by its value. So among architectures that do not differ, one is called worse in at most 5 % of the experiments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy.special import stdtr

from analyze.compare.equal_l0.comparison import SIGNIFICANCE, why_unfit
from analyze.compare.equal_l0.difference import TWO_SEEDS, Difference, difference
from analyze.compare.equal_l0.matched import Matched, MatchedSide
from analyze.compare.summary.summary import BEST, NO_MARK, TIED
from analyze.runs.settled import DriftsBySae
from analyze.statistics.cells import holm, most, partial_conjunction_of_independent, smallest_t
from analyze.statistics.estimates import Estimate
from analyze.statistics.jackknife import Float
from train.measures import measure_of


@dataclass(frozen=True)
class Ranking:
    """The order of architectures in one measure at one L0.

    costs: by architecture, its mean over the layers as a cost: lower is better.
    best: the architecture with the lowest cost.
    p_worse: by each other architecture, the corrected p-value of being worse than the best in most layers; 1 if the
        layers rather say that it is better.
    gaps: by each other architecture, its differences to the best, in either direction, in the layers that may be
        decided.
    undecidable: by each other architecture, why other layers decide nothing, each reason once.
    hooks: the layers.
    """

    costs: Mapping[str, float]
    best: str
    p_worse: Mapping[str, float]
    gaps: Mapping[str, Sequence[Difference]]
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
        """Return the mark of an architecture; none if it is not ranked."""
        return BEST if name == self.best else TIED if name in self.tied else NO_MARK


def rank(sides: Sequence[MatchedSide], hooks: Sequence[str], drifts: DriftsBySae) -> Ranking | None:
    """Rank sides by a measure over hooks; None with fewer than two sides, without hooks, or if no value is better.

    sides: of one measure and L0, each with a finite value at all hooks.
    """
    cost = _cost_function(sides[0].measure) if sides else None
    if cost is None or len(sides) < 2 or not hooks:
        return None
    costs = {side.name: {hook: cost(side.by_hook[hook]) for hook in hooks} for side in sides}
    means = {name: float(np.mean([_mean(of_side[hook]) for hook in hooks])) for name, of_side in costs.items()}
    pairs = list(combinations(costs, 2))
    gaps = {pair: decidable(costs[pair[0]], costs[pair[1]], hooks, drifts) for pair in pairs}
    of_pairs = [p_value(differences, len(hooks)) for differences, _ in gaps.values()]
    adjusted = dict(zip(pairs, holm(np.array([p for p, _ in of_pairs])).tolist(), strict=True))
    higher = {pair: pair[1] if sign > 0 else pair[0] for pair, (_, sign) in zip(pairs, of_pairs, strict=True)}
    best = min(means, key=lambda name: means[name])
    to_best = {next(name for name in pair if name != best): pair for pair in pairs if best in pair}
    return Ranking(
        means, best, {name: adjusted[pair] if higher[pair] == name else 1.0 for name, pair in to_best.items()},
        {name: gaps[pair][0] for name, pair in to_best.items()},
        {name: gaps[pair][1] for name, pair in to_best.items()}, list(hooks),
    )  # fmt: skip


def decidable(
    first: Mapping[str, Matched], second: Mapping[str, Matched], hooks: Sequence[str], drifts: DriftsBySae
) -> tuple[list[Difference], list[str]]:
    """Return the differences of two sides in the layers that may be decided, and why others may not."""
    gaps, reasons = [], dict[str, None]()
    for hook in hooks:
        gap, runs = difference(first[hook], second[hook]), [*first[hook].runs, *second[hook].runs]
        reason = why_unfit(runs, drifts, hook) or gap.why_undecidable()
        if reason in ("", TWO_SEEDS):
            gaps.append(gap)
        else:
            reasons[reason.partition(":")[0]] = None
    return gaps, list(reasons)


def p_value(gaps: Sequence[Difference], n_layers: int) -> tuple[float, int]:
    """Return the two-sided p-value of the claim that one side is higher in most layers, and which one.

    The p-value is 1 if nothing can be decided. The second value is 1 for the second side, and −1 for the first.

    gaps: the differences of the layers that may be decided. n_layers: how many layers there are.
    """
    if not gaps:
        return 1.0, 1
    errors = [gap.interpolation_error for gap in gaps]
    values, documents = np.array([gap.value for gap in gaps]), ByDocuments.of(gaps)
    second, first = (
        combined_p(
            [gap.variances.p_above(sign * gap.value, gap.interpolation_error) for gap in gaps],
            documents.p_value(sign * values - errors, most(n_layers)), most(n_layers),
        )
        for sign in (1, -1)
    )  # fmt: skip
    return min(1.0, 2 * min(first, second)), 1 if second <= first else -1


@dataclass(frozen=True)
class ByDocuments:
    """What the choice of documents can make of differences in several layers.

    covariance: of the layers' differences, [layers, layers], by the jackknife. degrees: its degrees of freedom.
    """

    covariance: Float
    degrees: float

    @classmethod
    def of(cls, gaps: Sequence[Difference]) -> ByDocuments:
        """Return that of layers that were measured on the same documents."""
        without = np.array([gap.replicates.mean(axis=0) for gap in gaps])
        deviations = without - without.mean(axis=1, keepdims=True) if without.size else without
        n = without.shape[1]
        covariance = (n - 1) / n * deviations @ deviations.T if n else np.zeros((len(gaps), len(gaps)))
        return cls(covariance, gaps[0].variances.group_degrees)

    def p_value(self, values: Float, at_least: int) -> float:
        """Return the one-sided p-value of the claim that `at_least` of the layers' differences are above 0."""
        if at_least > len(values):
            return 1.0
        t = smallest_t(values, self.covariance, len(values) - at_least + 1)
        return float(stdtr(self.degrees, -t)) if np.isfinite(t) else float(t < 0)


def combined_p(p: Sequence[float], p_of_documents: float, at_least: int) -> float:
    """Return the one-sided p-value of the claim that a side is better in `at_least` layers.

    p: over seeds and documents, of each layer that may be decided. p_of_documents: over documents, of all of them.
    """
    return max(partial_conjunction_of_independent(np.array(p), at_least), p_of_documents)


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
