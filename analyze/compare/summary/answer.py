"""The ranking in one measure at one L0, with the numbers that its sentences need."""

from __future__ import annotations

from dataclasses import dataclass

from analyze.compare.equal_l0.mean import mean_of_matched
from analyze.compare.summary.at_l0 import ComparisonAtL0
from analyze.compare.summary.ranking import Ranking
from analyze.compare.summary.summary import RANDOM_DECODER_NOTE
from analyze.statistics.layer_mean import LayerMean


@dataclass(frozen=True)
class Answer:
    """The ranking in one measure at one L0."""

    comparison: ComparisonAtL0
    ranking: Ranking
    measure: str

    @property
    def l0(self) -> float:
        """The L0 of the comparison."""
        return self.comparison.l0

    @property
    def all_tied(self) -> bool:
        """True if all others are tied with the best."""
        return len(self.ranking.tied) == len(self.ranking.costs) - 1

    @property
    def controls(self) -> list[str]:
        """The controls, which are compared but not ranked."""
        return [name for name, note in self.comparison.notes.items() if note == RANDOM_DECODER_NOTE]

    @property
    def mean_of_best(self) -> LayerMean:
        """The mean of the best over the layers."""
        best_by_hook = self.comparison.measured[self.measure][self.ranking.best].by_hook
        return mean_of_matched([best_by_hook[hook] for hook in self.ranking.hooks])

    @property
    def n_seeds(self) -> int:
        """The smallest number of seeds of an architecture in a layer."""
        sides = (self.comparison.measured[self.measure][name] for name in self.ranking.costs)
        return min(len(side.by_hook[hook].estimates) for side in sides for hook in self.ranking.hooks)

    @property
    def n_groups(self) -> int:
        """The number of documents."""
        matched = self.comparison.measured[self.measure][self.ranking.best].by_hook[self.ranking.hooks[0]]
        return len(next(iter(matched.estimates.values())).shares)

    @property
    def interpolated(self) -> dict[str, list[str]]:
        """By architecture, the layers in which its value is interpolated between runs, if there are any."""
        sides = {name: self.comparison.measured["l0"][name] for name in self.ranking.costs}
        between = {
            name: [hook for hook in self.ranking.hooks if side.by_hook[hook].interpolated]
            for name, side in sides.items()
        }
        return {name: hooks for name, hooks in between.items() if hooks}

    def why_left_out(self, hook: str) -> list[str]:
        """Return why a layer is not among those of the ranking, for each architecture that has no value there."""
        sides = (self.comparison.measured["l0"][name] for name in self.ranking.costs)
        return [side.not_matched[hook] for side in sides if hook in side.not_matched]
