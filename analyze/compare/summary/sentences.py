"""The answer of a comparison in words: which architecture is best, the post's question, and how sure both are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from analyze.compare.equal_l0.comparison import compare_matched
from analyze.compare.equal_l0.sentence import OBJECTS, OPPOSITE, VERBS, finding, finding_in_short, plus_minus
from analyze.compare.equal_l0.sides import Side
from analyze.compare.summary.answer import Answer
from analyze.compare.summary.at_l0 import ComparisonAtL0
from analyze.compare.summary.enumerations import between, join_names, join_numbers
from analyze.compare.summary.how_sure import how_sure
from analyze.compare.summary.main_l0 import main_l0
from analyze.compare.summary.ranking import Ranking
from analyze.compare.summary.summary import MISSED, NO_MARK, NOT_RANKED, RANDOM_DECODER_NOTE, SummaryLine
from analyze.runs.families import kind_of
from analyze.runs.settled import DriftsBySae
from analyze.tables import layer_list
from train.measures import measure_of

ONE_SEED = "About these trained SAEs, not their architectures (one seed): "
BEST_OF = {"nats_lost": "loses the fewest nats per token", "explained_variance": "explains the most variance"}
BETTER = {"nats_lost": "lose fewer nats per token", "explained_variance": "explain more of the variance"}
WORSE = {"nats_lost": ("lose", "more"), "explained_variance": ("explain", "less")}


def sentences(
    comparisons: Sequence[tuple[ComparisonAtL0, Mapping[str, Ranking | None]]], sides: Sequence[Side],
    hooks: Sequence[str], drifts: DriftsBySae, unit: str, lines: Sequence[SummaryLine],
) -> list[str]:  # fmt: skip
    """Return the answer, each sentence on one thing.

    It is about nats lost, or without the language model about explained variance.

    comparisons: with their rankings by measure. lines: those of the table.
    """
    ranked = [name for name in BEST_OF for _, rankings in comparisons if rankings.get(name)]
    measure = next(iter(ranked), "explained_variance")
    answers = [
        Answer(comparison, ranking, measure)
        for comparison, rankings in comparisons
        if (ranking := rankings.get(measure))
    ]
    if not answers:
        return _nothing_ranked(sides, lines)
    l0 = main_l0({answer.l0: len(answer.ranking.costs) for answer in answers})
    main = next(answer for answer in answers if answer.l0 == l0)
    best = _ranking(answers, main, hooks, drifts, unit)
    if any(answer.n_seeds == 1 for answer in answers):
        best[0] = f"{ONE_SEED}{best[0][0].lower()}{best[0][1:]}"
    return [
        *best,
        *_of_the_post(answers, main, sides, hooks, drifts, unit),
        how_sure(main, unit),
        *_layers_left_out(main, hooks),
        *_rest(lines),
    ]


def _ranking(
    answers: Sequence[Answer], main: Answer, hooks: Sequence[str], drifts: DriftsBySae, unit: str
) -> list[str]:
    """Return which architecture is best at the main L0, and at those where it is another."""
    groups = _grouped(answers, _best_and_tied)
    group_of_main = next(group for group in groups if main in group)
    number = _mean_of_best(main)
    where = f" at L0 = {main.l0:g}" if len(group_of_main) > 1 else ""
    n_layers = len(main.ranking.hooks)
    over = f"mean over {n_layers} layers" if n_layers > 1 else "in one layer"
    if missing := [hook for hook in hooks if hook not in main.ranking.hooks]:
        over += f", without {layer_list(missing)}"
    best, names = main.ranking.best, list(main.ranking.costs)
    if main.all_tied:
        none = f"neither {names[0]} nor {names[1]}" if len(names) == 2 else f"none of {len(names)} architectures"
        first = (
            f"{none} is shown to {BETTER[main.measure]} than the other{'s' * (len(names) > 2)}; "
            f"{best} has the best mean ({number}{where}, {over})"
        )
    else:
        first = f"{best} {BEST_OF[main.measure]} ({number}{where}, {over}); {_others(main, where, drifts, unit)}"
    first += _left_out(main.controls)
    rest = [
        f"{_at(group)} {_best_and_tied(group[0], f' ({_mean_of_best(group[0])})' * (len(group) == 1))}"
        f"{_only(group[0], main)}"
        for group in groups
        if group is not group_of_main
    ]
    return [f"{_at(group_of_main)} {first}.", *([f"{'; '.join([rest[0], *map(_lower, rest[1:])])}."] if rest else [])]


def _mean_of_best(answer: Answer) -> str:
    return plus_minus(answer.mean_of_best.value, answer.mean_of_best.half_width)


def _only(answer: Answer, main: Answer) -> str:
    """Return " (of baseline and nsae only)" if fewer architectures are ranked than at the main L0."""
    names = list(answer.ranking.costs)
    return f" (of {join_names(names)} only)" if len(names) < len(main.ranking.costs) else ""


def _left_out(controls: Sequence[str]) -> str:
    """Return " (frozen, a control, is left out)"; empty without controls."""
    if len(controls) > 1:
        return f" ({join_names(controls)}, controls, are left out)"
    return f" ({controls[0]}, a control, is left out)" if controls else ""


def _others(answer: Answer, where: str, drifts: DriftsBySae, unit: str) -> str:
    """Return which architectures are tied with the best, and how much worse the means of all are.

    Without a tie the next best is named with its interval, and the layers in which it is decided to be worse.
    """
    ranking, (verb, word) = answer.ranking, WORSE[answer.measure]
    tied = ranking.tied
    worse = sorted((name for name in ranking.costs if ranking.mark(name) == NO_MARK), key=lambda n: ranking.costs[n])
    if tied:
        ties = f"{join_names(tied)} {'is' if len(tied) == 1 else 'are'} tied with it ({_excess(ranking, tied)} {word})"
        amount = f"{join_names(worse)} {verb}{'s' * (len(worse) == 1)} {_excess(ranking, worse)} {word}{where}"
        return f"{ties}, and {amount}" if worse else ties
    following, others = worse[0], worse[1:]
    excess = ranking.excess[following]
    assert excess is not None  # it is decided
    text = f"{following} {verb}s {plus_minus(excess.value, excess.half_width)} {word}{where}"
    text += _decided_layers(answer, following, drifts, unit)
    return f"{text}, and {join_names(others)} {_excess(ranking, others)} {word}" if others else text


def _decided_layers(answer: Answer, name: str, drifts: DriftsBySae, unit: str) -> str:
    """Return " (decided in layers 3, 4 alone)": where an architecture differs from the best; empty for one layer."""
    ranking, matched = answer.ranking, answer.comparison.measured[answer.measure]
    if len(ranking.hooks) == 1:
        return ""
    comparison = compare_matched(matched[ranking.best], matched[name], ranking.hooks, drifts, unit)
    better = str(measure_of(answer.measure).better)
    decided, opposite = comparison.with_verdict(OPPOSITE[better]), comparison.with_verdict(better)
    if len(decided) == len(ranking.hooks):
        return " (in each layer)"
    text = f"decided in {layer_list(decided)} alone" if decided else "decided in no layer alone"
    return f" ({text}{f', the reverse in {layer_list(opposite)}' if opposite else ''})"


def _excess(ranking: Ranking, names: Sequence[str]) -> str:
    """Return "0.01 to 0.02": how much worse the means of some architectures are than that of the best."""
    costs = [ranking.costs[name] - ranking.costs[ranking.best] for name in names]
    return between(f"{min(costs):.2g}", f"{max(costs):.2g}")


def _best_and_tied(answer: Answer, number: str = "") -> str:
    """Return the best, with its mean as `number`, and those that are tied with it."""
    if answer.all_tied:
        return "none is shown to be best"
    ties = f"tied with {join_names(answer.ranking.tied)}" if answer.ranking.tied else "without ties"
    return f"the best is {answer.ranking.best}{number}, {ties}"


def _of_the_post(
    answers: Sequence[Answer], main: Answer, sides: Sequence[Side], hooks: Sequence[str], drifts: DriftsBySae,
    unit: str,
) -> list[str]:  # fmt: skip
    """Return whether nsae is better than the baseline, and shrinks less, for the first of each that are compared."""
    by_kind: dict[str, list[str]] = defaultdict(list)
    for side in sides:
        by_kind[kind_of(side.runs[0])].append(side.name)
    baselines = [*by_kind["baseline"], *by_kind["norm-scaled baseline"]]  # at one L0 the scale of α does not matter
    pairs = [(first, second) for first in baselines for second in by_kind["nsae"]]
    for first, second in pairs:
        at_l0 = {answer.l0: answer.comparison.measured[answer.measure] for answer in answers}
        compared = {
            l0: compare_matched(matched[first], matched[second], hooks, drifts, unit) for l0, matched in at_l0.items()
        }
        compared = {l0: comparison for l0, comparison in compared.items() if comparison.differences}
        if not compared:
            continue
        at = main.l0 if main.l0 in compared else list(compared)[len(compared) // 2]
        others = [finding_in_short(comparison) for l0, comparison in compared.items() if l0 != at]
        rest = [f"At other L0, {second} against {first}: {'; '.join(others)}."] if others else []
        gamma = next(answer for answer in answers if answer.l0 == at).comparison.measured.get("gamma", {})
        shrinking = []
        if gamma.keys() >= {first, second}:
            of_gamma = compare_matched(gamma[first], gamma[second], hooks, drifts, unit)
            if of_gamma.differences:
                shrinking = [f"At L0 = {at:g} {finding(of_gamma)}; below 1, reconstructions shrink."]
        return [f"At L0 = {at:g} {finding(compared[at])}.", *rest, *shrinking]
    return []


def _layers_left_out(answer: Answer, hooks: Sequence[str]) -> list[str]:
    """Return which layers the means are without, and why."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for hook in hooks:
        if hook not in answer.ranking.hooks and (why := answer.why_left_out(hook)):
            by_reason["; ".join(why)].append(hook)
    return [f"The means at L0 = {answer.l0:g} are without {layer_list(at)}: {why}." for why, at in by_reason.items()]


def _rest(lines: Sequence[SummaryLine]) -> list[str]:
    """Return which architectures are not ranked or missed their target, and why, but not the random-decoder control."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        if line.note.endswith(NOT_RANKED) and line.note != RANDOM_DECODER_NOTE:
            reasons[line.note.removesuffix(NOT_RANKED)].append(line.family)
        elif line.note == MISSED:
            reasons[f"with L0 = {line.l0:.3g} instead of {line.target:g}"].append(line.family)
    texts = [f"{join_names(list(dict.fromkeys(names)))} ({reason})" for reason, names in reasons.items()]
    return [f"Not ranked: {join_names(texts)}."] if texts else []


def _nothing_ranked(sides: Sequence[Side], lines: Sequence[SummaryLine]) -> list[str]:
    """Return why no side is best, and what would change that."""
    if len(sides) == 1:
        return [f"All runs are of one architecture, {sides[0].name}, so none is compared{_measured(lines)}."]
    at_l0: dict[float, list[SummaryLine]] = defaultdict(list)
    for line in lines:
        if line.target is not None and line.note != MISSED:
            at_l0[line.target].append(line)
    shared = {l0: of_l0 for l0, of_l0 in at_l0.items() if len(of_l0) > 1}
    if not shared:
        return [
            "No two architectures have SAEs of the same L0, so none is said to be better; train them with the same "
            "--target-l0, such as --target-l0 20,40,80.",
            *_rest(lines),
        ]  # fmt: skip
    l0 = list(shared)[len(shared) // 2]
    return [f"No two architectures can be ranked{_extremes(l0, shared[l0])}.", *_rest(lines)]


def _extremes(l0: float, lines: Sequence[SummaryLine]) -> str:
    """Return "; at L0 = 40 they range from relu, which explains 0.7 of the variance, to topk, 0.8"."""
    for measure in BEST_OF:
        known = [(value, line.family) for line in lines if (value := _value(line, measure)) is not None]
        if len(known) > 1:
            (low, first), (high, last) = min(known), max(known)
            lowest = f"{first}, which {VERBS[measure]} {low:.3g}{OBJECTS[measure]}"
            return f"; at L0 = {l0:g} they range from {lowest}, to {last}, {high:.3g}"
    return ""


def _value(line: SummaryLine, measure: str) -> float | None:
    cell = line.cells.get(measure)
    return cell.value if cell else None


def _measured(lines: Sequence[SummaryLine]) -> str:
    """Return ": at L0 = 40 it explains 0.80 ± 0.01 of the variance" for the line in the middle."""
    known = [line for line in lines if _value(line, "explained_variance") is not None]
    if not known:
        return ""
    middle = sorted(known, key=lambda line: line.l0)[len(known) // 2]
    cell = middle.cells["explained_variance"]
    assert cell.value is not None
    number = f"{cell.value:.3g}" if cell.low is None else plus_minus(cell.value, cell.value - cell.low)
    return f": at L0 = {middle.l0:.3g} it explains {number}{OBJECTS['explained_variance']}"


def _grouped(answers: Iterable[Answer], key: Callable[[Answer], Hashable]) -> list[list[Answer]]:
    groups: dict[Hashable, list[Answer]] = {}
    for answer in answers:
        groups.setdefault(key(answer), []).append(answer)
    return list(groups.values())


def _at(answers: Sequence[Answer]) -> str:
    return f"At L0 = {join_numbers([answer.l0 for answer in answers])}"


def _lower(text: str) -> str:
    return f"{text[0].lower()}{text[1:]}"
