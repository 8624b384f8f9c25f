"""How sure the ranking is: its sample, and the seeds and documents that would decide its ties."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from analyze.compare.summary.answer import Answer
from analyze.compare.summary.enumerations import between, join_names
from analyze.compare.summary.planning import plan
from analyze.statistics.replicas import MOST_SEEDS
from analyze.tables import layer_list
from train.measures import title_of


def how_sure(answer: Answer, unit: str) -> str:
    """Return the sample, and what would decide the ties at this L0."""
    ranking, parts = answer.ranking, [_sample(answer, unit)]
    undecidable = bool(ranking.tied) and all(ranking.excess[name] is None for name in ranking.tied)
    if undecidable:
        reasons = dict.fromkeys(reason for name in ranking.tied for reason in ranking.undecidable[name])
        parts.append(f"{_with('the tie', ranking.tied)} cannot be decided ({', '.join(reasons)})")
    if answer.n_seeds == 1:
        parts.append("for a verdict on the architectures train three seeds or more (--seeds)")
    elif not ranking.tied:
        parts.append("of equal architectures the ranking would call one worse in at most 5 % of experiments")
    elif not undecidable:
        parts += _what_would_decide(answer, unit)
    return f"{'; '.join(parts)}."


def _sample(answer: Answer, unit: str) -> str:
    seeds = answer.n_seeds
    sample = f"{seeds} seed{'s' * (seeds > 1)} and {answer.n_groups} {unit}s"
    text = f"Intervals of {title_of(answer.measure)} are over {sample}"
    interpolated = answer.interpolated
    if not interpolated:
        return text
    hooks = [hook for hook in answer.ranking.hooks if any(hook in of_side for of_side in interpolated.values())]
    where = "" if hooks == answer.ranking.hooks else f" in {layer_list(hooks)}"
    return f"{text}, and values of {join_names(list(interpolated))}{where} are interpolated between runs"


def _what_would_decide(answer: Answer, unit: str) -> list[str]:
    """Return the seeds and documents that would decide the ties, of several seeds."""
    ranking = answer.ranking
    plans = {
        name: plan(mean, answer.n_groups, ranking.n_pairs) if (mean := ranking.excess[name]) else None
        for name in ranking.tied
    }
    known = {name: needed for name, needed in plans.items() if needed is not None}
    rest = [name for name in plans if name not in known]
    if not known:
        return [f"up to {MOST_SEEDS} seeds would not decide {_with('the tie', rest)}, as small as the differences look"]
    seeds, groups = _range(p.seeds for p in known.values()), _range(p.groups for p in known.values())
    parts = [
        f"{seeds} seeds and {groups} {unit}s would decide {_with('the tie', list(known))}, if the differences are as "
        "large as seen"
    ]
    return [*parts, f"up to {MOST_SEEDS} seeds would not decide {_with('the tie', rest)}"] if rest else parts


def _with(tie: str, names: Sequence[str]) -> str:
    """Return "the ties with gated and topk"."""
    return f"{tie}{'s' * (len(names) > 1)} with {join_names(names)}"


def _range(counts: Iterable[int]) -> str:
    numbers = list(counts)
    return between(f"{min(numbers):,}", f"{max(numbers):,}")
