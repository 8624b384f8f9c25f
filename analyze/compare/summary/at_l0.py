"""A comparison at one L0: the architectures' measures at each hook, and which architectures are ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analyze.compare.equal_l0.comparison import why_unfit
from analyze.compare.equal_l0.matched import MatchedSide
from analyze.compare.equal_l0.matching import Matching
from analyze.compare.summary.summary import NOT_RANKED, RANDOM_DECODER_NOTE
from analyze.runs.families import kind_of
from analyze.runs.settled import DriftsBySae
from analyze.statistics.cells import most

RANDOM_DECODER = "frozen"  # the kind of the random-decoder control


@dataclass(frozen=True)
class ComparisonAtL0:
    """Sides at one L0.

    l0: the L0 that is asked for.
    measured: the sides' measures, by measure and side; "l0" is the measured L0.
    hooks: the hooks that all ranked sides are compared in.
    ranked: the sides that are ranked.
    notes: by side, why it is not ranked, or which of its layers decide nothing.
    """

    l0: float
    measured: Mapping[str, Mapping[str, MatchedSide]]
    hooks: Sequence[str]
    ranked: Sequence[str]
    notes: Mapping[str, str]

    def hooks_of(self, side: str) -> list[str]:
        """Return the hooks that a side's means are over: those of the ranking, or its own if it has none of them."""
        matched_by_hook = self.measured["l0"][side].by_hook
        return [hook for hook in self.hooks if hook in matched_by_hook] or list(matched_by_hook)

    def sides_at(self, measure: str) -> tuple[list[MatchedSide], list[str]]:
        """Return the ranked sides in a measure, and the hooks in which all of them have a value."""
        sides = [self.measured[measure][name] for name in self.ranked]
        return sides, [hook for hook in self.hooks if all(has_value(side, hook) for side in sides)]


def has_value(side: MatchedSide, hook: str) -> bool:
    """Return whether a side has a finite value at a hook."""
    matched = side.by_hook.get(hook)
    return matched is not None and all(np.isfinite(estimate.value) for estimate in matched.estimates.values())


def compare_at_l0(matching: Matching, measures: Sequence[str], l0: float, drifts: DriftsBySae) -> ComparisonAtL0:
    """Match sides at an L0 in L0 and the measures, and choose those that are ranked."""
    sides, hooks = matching.sides, matching.hooks
    measured = {measure: {side.name: side for side in matching.at(measure, l0)} for measure in ("l0", *measures)}
    matched = {name: side for name, side in measured["l0"].items() if side.by_hook}
    unfit = {name: _unfit(side, drifts) for name, side in matched.items()}
    notes = {name: _note(reasons, len(matched[name].by_hook)) for name, reasons in unfit.items()}
    controls = {side.name for side in sides if kind_of(side.runs[0]) == RANDOM_DECODER}
    candidates = []
    for name, side in matched.items():
        if name in controls:
            notes[name] = RANDOM_DECODER_NOTE
        elif len(unfit[name]) > len(side.by_hook) / 2:
            notes[name] += NOT_RANKED
        else:
            candidates.append(name)
    ranked, common = _compared(candidates, matched, hooks)
    for name in set(candidates) - set(ranked):
        notes[name] = f"compared in {len(matched[name].by_hook)} of {len(hooks)} layers{NOT_RANKED}"
    return ComparisonAtL0(l0, measured, common, ranked if len(ranked) > 1 else [], notes)


def _compared(
    names: Sequence[str], matched: Mapping[str, MatchedSide], hooks: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return the sides that are compared in most of the layers that two have, and the layers that these sides share."""
    ranked = list(names)
    of_two = [hook for hook in hooks if sum(hook in matched[name].by_hook for name in names) > 1]
    while True:
        common = [hook for hook in hooks if all(hook in matched[name].by_hook for name in ranked)]
        if len(ranked) <= 2 or len(common) >= most(len(of_two)):
            return ranked, common if ranked else []
        ranked.remove(min(ranked, key=lambda name: len(matched[name].by_hook)))


def _unfit(side: MatchedSide, drifts: DriftsBySae) -> dict[str, str]:
    """Return by hook why it decides nothing: a run is unfinished or not settled."""
    reasons = {hook: why_unfit(matched.runs, drifts, hook) for hook, matched in side.by_hook.items()}
    return {hook: reason.partition(":")[0] for hook, reason in reasons.items() if reason}


def _note(unfit: Mapping[str, str], n_layers: int) -> str:
    return "; ".join(
        f"{reason} in {sum(hook_reason == reason for hook_reason in unfit.values())} of {n_layers} layers"
        for reason in dict.fromkeys(unfit.values())
    )
