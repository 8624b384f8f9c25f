"""The verdict of a comparison as text: one sentence, what it is about, and what would decide the rest."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analyze.compare.equal_l0.comparison import Comparison
from analyze.statistics.cells import most
from analyze.statistics.replicas import MOST_SEEDS
from analyze.tables import layer_list
from train.measures import measure_of, title_of

ONE_SEED = "About these two trained SAEs per layer, not their architectures (one seed): "
OPPOSITE = {"higher": "lower", "lower": "higher"}
VERBS = {"explained_variance": "explains", "nats_lost": "loses"}
OBJECTS = {"explained_variance": " of the variance", "nats_lost": " nats per token"}


@dataclass(frozen=True)
class VerdictRow:
    """A row of the table of verdicts: a comparison over all layers.

    higher, lower, undecided, not_compared: hooks, by what the second side is there.
    in_most_layers: "higher" or "lower", if one test of all layers decides that.
    value: mean difference over the layers that agree with most of the decided ones, or over all if none is decided;
        with its 95 % interval from `low` to `high`.
    detectable: median over layers of the smallest detectable difference.
    largest_plausible: no layer's difference is larger, by the equivalence test.
    text: the verdict in words.
    """

    first: str
    second: str
    measure: str
    l0: float
    seeds: int
    higher: list[str]
    lower: list[str]
    undecided: list[str]
    not_compared: list[str]
    in_most_layers: str | None
    value: float | None
    low: float | None
    high: float | None
    detectable: float | None
    largest_plausible: float | None
    text: str


def verdict_row(comparison: Comparison) -> VerdictRow:
    """Return the verdict over all layers."""
    winner, known = winner_of(comparison), list(comparison.differences.values())
    mean = (
        comparison.mean(comparison.with_verdict(winner) if winner else list(comparison.differences)) if known else None
    )
    return VerdictRow(
        comparison.first, comparison.second, comparison.measure, comparison.l0, comparison.n_seeds,
        comparison.with_verdict("higher"), comparison.with_verdict("lower"), comparison.with_verdict("undecided"),
        list(comparison.not_compared), comparison.in_most_layers, mean.value if mean else None,
        mean.value - mean.half_width if mean else None, mean.value + mean.half_width if mean else None,
        float(np.median([d.detectable for d in known])) if known else None,
        max((d.largest_plausible for d in known), default=None), verdict_text(comparison),
    )  # fmt: skip


def verdict_text(comparison: Comparison) -> str:
    """Return the verdict as text."""
    lead = f"At L0 = {comparison.l0:g} "
    if not comparison.differences:
        return (
            f"{lead}{comparison.second} and {comparison.first} are not compared: {_reasons(comparison.not_compared)}."
        )
    caveat = ONE_SEED if comparison.n_seeds == 1 else ""
    parts = [f"{caveat}{lead}{finding(comparison)}; {_sample(comparison)}.", _overturning(comparison)]
    parts.append(f"Smallest detectable difference: {_range([d.detectable for d in comparison.differences.values()])}.")
    if comparison.undecidable:
        parts.append(f"Undecidable: {_reasons(comparison.undecidable)}.")
    if comparison.perhaps_unsettled:
        parts.append(
            f"The logs do not tell whether all runs have settled in {layer_list(comparison.perhaps_unsettled)}."
        )
    parts.append(_plan(comparison))
    if comparison.not_compared:
        parts.append(f"Not compared: {_reasons(comparison.not_compared)}.")
    return " ".join(filter(None, parts))


def winner_of(comparison: Comparison) -> str | None:
    """Return the verdict that most of the decided layers have; None without decided layers."""
    counts = {name: len(comparison.with_verdict(name)) for name in ("higher", "lower")}
    return max(counts, key=lambda name: counts[name]) if any(counts.values()) else None


def finding(comparison: Comparison) -> str:
    """Return which side is better, by how much and in which layers, without the L0. It needs a difference."""
    winner, n = winner_of(comparison), comparison.n_layers
    if winner is None:
        mean = comparison.decided_mean()
        if mean is not None:
            sign = "higher" if mean.value > 0 else "lower"
            return f"{_amount(comparison, mean.value, mean.half_width, sign)} on average over {n} layers"
        side_of_most = comparison.in_most_layers
        if side_of_most is not None:
            mean = comparison.mean(list(comparison.differences))
            text = _amount(comparison, abs(mean.value), mean.half_width, side_of_most)
            return f"{text} in at least {most(n)} of {n} layers, none of which can be named"
        between = f"difference in {title_of(comparison.measure)} between {comparison.second} and {comparison.first}"
        decidable = [d for hook, d in comparison.differences.items() if hook not in comparison.undecidable]
        if not decidable:
            return f"no {between} can be decided"
        where = "the layer" if len(decidable) == 1 else f"any of {len(decidable)} layers"
        largest = max(d.largest_plausible for d in decidable)
        return f"no {between} is decided in {where}; none is beyond ±{largest:.2g}{_unit(comparison.measure)}"
    hooks = comparison.with_verdict(winner)
    mean = comparison.mean(hooks)
    text = _amount(comparison, mean.value, mean.half_width, winner)
    if n == 1:
        text += f" in {layer_list(hooks)}"
    elif len(hooks) < most(n) and comparison.in_most_layers == winner:
        text += f" in at least {most(n)} of {n} layers, of which {layer_list(hooks)} can be named"
    else:
        text += f" in all {n} layers" if len(hooks) == n else f" in {len(hooks)} of {n} layers"
    for verdict, word in (
        (OPPOSITE[winner], word_for(comparison.measure, OPPOSITE[winner])),
        ("undecided", "undecided"),
    ):
        if comparison.with_verdict(verdict):
            text += f", {word} in {layer_list(comparison.with_verdict(verdict))}"
    return text


def _amount(comparison: Comparison, value: float, half_width: float, verdict: str) -> str:
    """Return "nsae loses 0.012 ± 0.003 nats per token less than baseline"."""
    name = comparison.measure
    number = f"{plus_minus(abs(value), half_width)}{OBJECTS.get(name, _unit(name))}"
    word = word_for(name, verdict)
    if name in VERBS:
        return f"{comparison.second} {VERBS[name]} {number} {word} than {comparison.first}"
    return f"{title_of(name)} of {comparison.second} is {number} {word} than that of {comparison.first}"


def word_for(measure: str, verdict: str) -> str:
    """Return "more" or "less" for a measure that has a verb, else "higher" or "lower"."""
    return {"higher": "more", "lower": "less"}[verdict] if measure in VERBS else verdict


def _unit(measure: str) -> str:
    unit = measure_of(measure).unit
    return f" {unit}" if unit else ""


def _sample(comparison: Comparison) -> str:
    seeds, groups = comparison.n_seeds, comparison.any_difference.n_groups
    return f"{seeds} seed{'s' * (seeds > 1)}, {groups} {comparison.unit}{'s' * (groups > 1)}"


def _overturning(comparison: Comparison) -> str:
    spreads = [
        comparison.differences[hook].overturning_spread for name in OPPOSITE for hook in comparison.with_verdict(name)
    ]
    known = [spread for spread in spreads if spread]
    if not known:
        return ""
    return f"A standard deviation over seeds of the difference of {_range(known)} would overturn it."


def _plan(comparison: Comparison) -> str:
    """Return how many seeds and documents would decide the layers that are undecided for want of them."""
    more_seeds = "For a verdict on the architectures train three seeds or more (--seeds)."
    one_seed = comparison.n_seeds == 1
    undecided = comparison.with_verdict("undecided")
    if not undecided:
        return more_seeds if one_seed else ""
    plans = {hook: comparison.differences[hook].plan for hook in undecided}
    known = [plan for plan in plans.values() if plan is not None]
    if not known:
        return f"No plan of up to {MOST_SEEDS} seeds would decide differences as small as those seen."
    seeds, groups = (
        _between(min(numbers), max(numbers)) for numbers in ([p.seeds for p in known], [p.groups for p in known])
    )
    which = layer_list([hook for hook, plan in plans.items() if plan is not None])
    sample = f"{'' if one_seed else f'{seeds} seeds and '}{groups} {comparison.unit}s of equal length"
    text = f"Differences as large as those seen in {which} would be decided by {sample}."
    return f"{text} {more_seeds}" if one_seed else text


def _between(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _reasons(reasons: Mapping[str, str]) -> str:
    """Return reasons by hook as text, each reason once."""
    by_reason = defaultdict(list)
    for hook, reason in reasons.items():
        by_reason[reason].append(hook)
    return "; ".join(f"{layer_list(hooks)}: {reason}" for reason, hooks in by_reason.items())


def _range(values: list[float]) -> str:
    low, high = f"{min(values):.2g}", f"{max(values):.2g}"
    return low if low == high else f"{low} to {high}"


def plus_minus(value: float, half_width: float) -> str:
    """Return "0.0123 ± 0.0034", to two digits of the half-width."""
    if not 0 < half_width < math.inf:
        return f"{value:.3g} ± {half_width:.2g}"
    digits = max(0, 1 - math.floor(math.log10(half_width)))
    return f"{value:.{digits}f} ± {half_width:.{digits}f}"
