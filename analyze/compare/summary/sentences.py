"""The answer of a comparison in words: which architecture is best, the post's question, and how sure both are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from analyze.compare.equal_l0.comparison import Comparison, compare_matched
from analyze.compare.equal_l0.mean import Mean, mean_of_matched
from analyze.compare.equal_l0.sentence import OBJECTS, OPPOSITE, finding, plus_minus, winner_of, word_for
from analyze.compare.equal_l0.sides import Side
from analyze.compare.summary.place import Place
from analyze.compare.summary.planning import plan
from analyze.compare.summary.ranking import Ranking
from analyze.compare.summary.summary import SummaryLine
from analyze.runs.families import kind_of
from analyze.runs.settled import DriftsBySae
from analyze.statistics.replicas import MOST_SEEDS

ONE_SEED = "About these trained SAEs, not their architectures (one seed): "
BEST_OF = {"nats_lost": "loses the fewest nats per token", "explained_variance": "explains the most variance"}
WORSE = {"nats_lost": "lose more", "explained_variance": "explain less"}
MOST_NAMES = 4


@dataclass(frozen=True)
class Answer:
    """The ranking in one measure at one L0."""

    place: Place
    ranking: Ranking
    measure: str

    @property
    def l0(self) -> float:
        return self.place.l0

    @property
    def mean_of_best(self) -> Mean:
        own = self.place.measured[self.measure][self.ranking.best].by_hook
        return mean_of_matched([own[hook] for hook in self.ranking.hooks])

    @property
    def n_seeds(self) -> int:
        sides = (self.place.measured[self.measure][name] for name in self.ranking.costs)
        return min(len(side.by_hook[hook].estimates) for side in sides for hook in self.ranking.hooks)

    @property
    def n_groups(self) -> int:
        own = self.place.measured[self.measure][self.ranking.best].by_hook[self.ranking.hooks[0]]
        return len(next(iter(own.estimates.values())).shares)

    @property
    def interpolated(self) -> bool:
        sides = (self.place.measured["l0"][name] for name in self.ranking.costs)
        return any(side.by_hook[hook].interpolated for side in sides for hook in self.ranking.hooks)


def sentences(
    places: Sequence[tuple[Place, Mapping[str, Ranking | None]]], sides: Sequence[Side], hooks: Sequence[str],
    drifts: DriftsBySae, unit: str, lines: Sequence[SummaryLine],
) -> list[str]:  # fmt: skip
    """Return the answer, each sentence on one thing.

    It is about nats lost, or without the language model about explained variance.

    places: what is compared, with rankings by measure. lines: those of the table.
    """
    measure = next((name for _, rankings in places for name in BEST_OF if name in rankings), "explained_variance")
    answers = [Answer(place, own, measure) for place, rankings in places if (own := rankings.get(measure))]
    if not answers:
        return _nothing_ranked(sides, places, lines)
    middle = answers[len(answers) // 2]
    best = [*_ranking(answers, middle)]
    if any(answer.n_seeds == 1 for answer in answers):
        best[0] = f"{ONE_SEED}{best[0][0].lower()}{best[0][1:]}"
    return [*best, *_of_the_post(answers, middle, sides, hooks, drifts, unit), _how_sure(middle, unit), *_rest(places)]


def _ranking(answers: Sequence[Answer], middle: Answer) -> list[str]:
    """Return which architecture is best at the middle L0, and at those where it is another."""
    groups = _grouped(answers, lambda answer: (answer.ranking.best, frozenset(answer.ranking.tied)))
    own = next(group for group in groups if middle in group)
    mean, n_layers = middle.mean_of_best, len(middle.ranking.hooks)
    number = f"{plus_minus(mean.value, mean.half_width)}{f' at L0 = {middle.l0:g}' * (len(own) > 1)}"
    over = f"mean over {n_layers} layers" if n_layers > 1 else "in one layer"
    first = (
        f"{_at(own)} {middle.ranking.best} {BEST_OF[middle.measure]} ({number}, {over}); {_others(middle)}."
    )  # fmt: skip
    rest = [f"{_at(group)} it is {_best_and_tied(group[0].ranking)}" for group in groups if group is not own]
    return [first, f"{'; '.join([rest[0], *(_lower(text) for text in rest[1:])])}."] if rest else [first]


def _others(answer: Answer) -> str:
    tied, n_others = answer.ranking.tied, len(answer.ranking.costs) - 1
    if not tied:
        worse = WORSE[answer.measure]
        return f"all {n_others} others {worse}" if n_others > 1 else f"{_only_other(answer)} {_singular(worse)}"
    if len(tied) == n_others > 1:
        return f"all {n_others} others are tied with it"
    return f"{_names(tied)} {'is' if len(tied) == 1 else 'are'} tied with it"


def _only_other(answer: Answer) -> str:
    return next(name for name in answer.ranking.costs if name != answer.ranking.best)


def _singular(verb: str) -> str:
    return verb.replace("lose", "loses").replace("explain", "explains")


def _best_and_tied(ranking: Ranking) -> str:
    if not ranking.tied:
        return f"{ranking.best} alone"
    if len(ranking.tied) == len(ranking.costs) - 1 > 1:
        return f"{ranking.best}, with which all are tied"
    return f"{ranking.best}, tied with {_names(ranking.tied)}"


def _of_the_post(
    answers: Sequence[Answer], middle: Answer, sides: Sequence[Side], hooks: Sequence[str], drifts: DriftsBySae,
    unit: str,
) -> list[str]:  # fmt: skip
    """Return whether nsae is better than the baseline, for the first family of each that are compared."""
    by_kind: dict[str, list[str]] = defaultdict(list)
    for side in sides:
        by_kind[kind_of(side.runs[0])].append(side.name)
    pairs = [(first, second) for first in by_kind["baseline"] for second in by_kind["nsae"]]
    for first, second in pairs:
        at_l0 = {answer.l0: answer.place.measured[answer.measure] for answer in answers}
        compared = {l0: compare_matched(own[first], own[second], hooks, drifts, unit) for l0, own in at_l0.items()}
        compared = {l0: own for l0, own in compared.items() if own.differences}
        if not compared:
            continue
        at = middle.l0 if middle.l0 in compared else list(compared)[len(compared) // 2]
        text = f"At L0 = {at:g} {finding(compared[at])}"
        words = {l0: _word(own) for l0, own in compared.items()}
        for word in dict.fromkeys(words.values()):
            where = [l0 for l0, own in words.items() if own == word and l0 != at]
            if where:
                text += f"; {'also ' * (word == words[at])}{word} at L0 = {_listed(where)}"
        return [f"{text}."]
    return []


def _word(comparison: Comparison) -> str:
    """Return whether the second side is more, less or undecided over all layers."""
    mean = comparison.decided_mean()
    verdict = winner_of(comparison) or comparison.in_most_layers
    if verdict is None and mean is not None:
        verdict = "higher" if mean.value > 0 else "lower"
    word = word_for(comparison.measure, verdict) if verdict else "undecided"
    return f"{word} in some layers" if _both_ways(comparison) else word


def _both_ways(comparison: Comparison) -> bool:
    return all(comparison.with_verdict(verdict) for verdict in OPPOSITE)


def _how_sure(answer: Answer, unit: str) -> str:
    """Return the sample, and what would decide the ties at the middle L0."""
    groups, seeds = f"{answer.n_groups} {unit}s", answer.n_seeds
    text = f"Intervals are over {seeds} seed{'s' * (seeds > 1)} and {groups}"
    if answer.interpolated:
        text += f", and values at L0 = {answer.l0:g} are interpolated between runs"
    if seeds == 1:
        return f"{text}; for a verdict on the architectures train three seeds or more (--seeds)."
    ranking = answer.ranking
    if not ranking.tied:
        return f"{text}."
    undecidable = [name for name in ranking.tied if len(ranking.gaps[name]) <= len(ranking.hooks) / 2]
    if len(undecidable) == len(ranking.tied):
        return f"{text}; the ties cannot be decided, because layers are unfit or {unit}s too few."
    plans = [plan(ranking.gaps[name], len(ranking.hooks), ranking.n_pairs) for name in ranking.tied]
    known = [own for own in plans if own is not None]
    if not known:
        return f"{text}; up to {MOST_SEEDS} seeds would not decide the ties, as small as their differences look."
    easiest = min(known, key=lambda own: own.seeds * own.groups)
    which = "the tie" if len(plans) == 1 else f"{len(known)} of {len(plans)} ties" if len(known) > 1 else "one tie"
    hardest = max(known, key=lambda own: own.seeds * own.groups)
    return (
        f"{text}; {_range(easiest.seeds, hardest.seeds)} seeds and {_range(easiest.groups, hardest.groups)} {unit}s "
        f"would decide {which}, if the differences are as large as they look."
    )


def _range(first: int, second: int) -> str:
    low, high = sorted((first, second))
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _rest(places: Sequence[tuple[Place, Mapping[str, Ranking | None]]]) -> list[str]:
    """Return which sides are not ranked, and why; the control is one on purpose."""
    notes: dict[str, list[str]] = {}
    for place, _ in places:
        for name, note in place.notes.items():
            if "not ranked" in note and not note.startswith("control"):
                notes.setdefault(f"{name} ({note.removesuffix(', not ranked')})", []).append(f"{place.l0:g}")
    return [f"Not ranked: {_names(list(notes))}."] if notes else []


def _nothing_ranked(
    sides: Sequence[Side], places: Sequence[tuple[Place, Mapping[str, Ranking | None]]], lines: Sequence[SummaryLine]
) -> list[str]:
    """Return why no side is best, and what would change that."""
    measured = _measured(lines)
    if len(sides) == 1:
        return [f"All runs are of one architecture, {sides[0].name}, so none is compared{measured}."]
    if not places or all(len(place.measured["l0"]) < 2 for place, _ in places):
        return [
            "No two architectures have SAEs of the same L0, so none is said to be better; train them with the same "
            "--target-l0, such as --target-l0 20,40,80."
        ]
    return ["No two architectures can be ranked.", *_rest(places)]


def _measured(lines: Sequence[SummaryLine]) -> str:
    """Return ": its explained variance is 0.80 ± 0.01 at L0 = 40" for the line in the middle."""
    known = [line for line in lines if line.cells["explained_variance"].value is not None]
    if not known:
        return ""
    line = sorted(known, key=lambda own: own.l0)[len(known) // 2]
    value, low = line.cells["explained_variance"].value, line.cells["explained_variance"].low
    assert value is not None
    number = f"{value:.3g}" if low is None else plus_minus(value, value - low)
    return f": at L0 = {line.l0:.3g} it explains {number}{OBJECTS['explained_variance']}"


def _grouped(answers: Iterable[Answer], key: Callable[[Answer], Hashable]) -> list[list[Answer]]:
    groups: dict[Hashable, list[Answer]] = {}
    for answer in answers:
        groups.setdefault(key(answer), []).append(answer)
    return list(groups.values())


def _at(answers: Sequence[Answer]) -> str:
    return f"At L0 = {_listed([answer.l0 for answer in answers])}"


def _lower(text: str) -> str:
    return f"{text[0].lower()}{text[1:]}"


def _listed(values: Sequence[float]) -> str:
    return _joined([f"{value:g}" for value in values])


def _names(names: Sequence[str]) -> str:
    """Return names as text, at most MOST_NAMES of them."""
    if len(names) <= MOST_NAMES:
        return _joined(names)
    return _joined([*names[: MOST_NAMES - 1], f"{len(names) - MOST_NAMES + 1} others"])


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
