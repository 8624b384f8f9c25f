"""How sure the ranking is: its sample, and the seeds and documents that would decide its ties."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from analyze.compare.summary.answer import Answer
from analyze.compare.summary.enumerations import between, join_names
from analyze.compare.summary.planning import plan
from analyze.statistics.replicas import MOST_SEEDS
from analyze.tables import layer_list


def how_sure(answer: Answer, unit: str) -> str:
    """Return the sample, and what would decide the ties at this L0."""
    groups, seeds = f"{answer.n_groups} {unit}s", answer.n_seeds
    text = f"Intervals are over {seeds} seed{'s' * (seeds > 1)} and {groups}"
    if interpolated := answer.interpolated:
        hooks = [hook for hook in answer.ranking.hooks if any(hook in of_side for of_side in interpolated.values())]
        where = "" if hooks == answer.ranking.hooks else f" in {layer_list(hooks)}"
        text += f", and values of {join_names(list(interpolated))}{where} are interpolated between runs"
    if seeds == 1:
        return f"{text}; for a verdict on the architectures train three seeds or more (--seeds)."
    ranking = answer.ranking
    if not ranking.tied:
        return f"{text}; if the architectures were alike, one would be called worse in at most 5 % of experiments."
    ties = _with("the tie", ranking.tied)
    if all(ranking.excess[name] is None for name in ranking.tied):
        reasons = dict.fromkeys(reason for name in ranking.tied for reason in ranking.undecidable[name])
        return f"{text}; {ties} cannot be decided ({', '.join(reasons)})."
    plans = {
        name: plan(mean, answer.n_groups, ranking.n_pairs) if (mean := ranking.excess[name]) else None
        for name in ranking.tied
    }
    known = {name: needed for name, needed in plans.items() if needed is not None}
    if not known:
        return f"{text}; up to {MOST_SEEDS} seeds would not decide {ties}, as small as the differences look."
    needed_seeds, needed_groups = _range(p.seeds for p in known.values()), _range(p.groups for p in known.values())
    text += f"; {needed_seeds} seeds and {needed_groups} {unit}s would decide {_with('the tie', list(known))}"
    text += ", if the differences are as large as seen"
    rest = [name for name in plans if name not in known]
    if rest:
        text += f"; up to {MOST_SEEDS} seeds would not decide {_with('the tie', rest)}"
    return f"{text}."


def _with(tie: str, names: Sequence[str]) -> str:
    """Return "the ties with gated and topk"."""
    return f"{tie}{'s' * (len(names) > 1)} with {join_names(names)}"


def _range(counts: Iterable[int]) -> str:
    numbers = list(counts)
    return between(f"{min(numbers):,}", f"{max(numbers):,}")
