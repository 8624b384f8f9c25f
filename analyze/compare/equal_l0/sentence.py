"""The verdict of a comparison as text: the mean difference over the layers, then in which layers which side is higher.

The table of differences has what would decide the other layers.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analyze.compare.equal_l0.comparison import SIGNIFICANCE, Comparison
from analyze.statistics.layer_mean import LayerMean
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
    value: mean difference over all compared layers, with its 95 % interval from `low` to `high`.
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
    value: float | None
    low: float | None
    high: float | None
    detectable: float | None
    largest_plausible: float | None
    text: str


def verdict_row(comparison: Comparison) -> VerdictRow:
    """Return the verdict over all layers."""
    known = list(comparison.differences.values())
    mean = comparison.mean_of_all if known else None
    low, high = mean.interval() if mean else (None, None)
    return VerdictRow(
        comparison.first, comparison.second, comparison.measure, comparison.l0, comparison.n_seeds,
        comparison.with_verdict("higher"), comparison.with_verdict("lower"), comparison.with_verdict("undecided"),
        list(comparison.not_compared), mean.value if mean else None, low, high,
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
    if comparison.undecidable:
        parts.append(f"Undecidable: {_reasons(comparison.undecidable)}.")
    if unknown := comparison.perhaps_unsettled:
        where = "" if len(unknown) == len(comparison.differences) else f" in {layer_list(unknown)}"
        parts.append(f"The logs do not tell whether all runs have settled{where}.")
    if comparison.not_compared:
        parts.append(f"Not compared: {_reasons(comparison.not_compared)}.")
    return " ".join(filter(None, parts))


def finding(comparison: Comparison) -> str:
    """Return the mean difference over the compared layers, and in which of them which side is higher, without the L0.

    It needs a difference.
    """
    about = f"{title_of(comparison.measure)} between {comparison.second} and {comparison.first}"
    if not comparison.may_be_decided:
        reasons = dict.fromkeys(reason.partition(":")[0] for reason in comparison.undecidable.values())
        return f"no difference in {about} can be decided ({', '.join(reasons)})"
    hooks, mean = list(comparison.differences), comparison.mean_of_all
    n, n_layers = len(hooks), comparison.n_layers
    among = f"{n} layers" if n == n_layers else f"{n} of {n_layers} layers"
    one_way = any(comparison.with_verdict(verdict) == hooks for verdict in OPPOSITE)
    if n == 1:
        where = f"in {layer_list(hooks)}"
    elif one_way:
        where = f"in {'all ' * (n == n_layers)}{among}"
    else:
        where = f"on average over {among}"
    details = "" if n == 1 or one_way or comparison.of_two_seeds else f": {_by_layer(comparison)}"
    return f"{_difference(comparison, mean, where, shown=one_way or mean.decided)}{details}"


def finding_in_short(comparison: Comparison) -> str:
    """Return the mean difference with the L0, for a sentence that has the finding at another L0."""
    at, mean = f"at L0 = {comparison.l0:g}", comparison.mean_of_all
    if not comparison.may_be_decided:
        return f"undecided {at}"
    verdict = _sign(mean)
    amount = f"{plus_minus(abs(mean.value), mean.half_width)} {word_for(comparison.measure, verdict)}"
    text = f"{amount} {at}" if mean.decided else f"not shown to differ {at} ({amount})"
    others, open_ = comparison.with_verdict(OPPOSITE[verdict]), comparison.with_verdict("undecided")
    if others:
        return f"{text}, but {word_for(comparison.measure, OPPOSITE[verdict])} in {layer_list(others)}"
    return f"{text}, undecided in {layer_list(open_)}" if 0 < len(open_) < len(comparison.differences) else text


def _difference(comparison: Comparison, mean: LayerMean, where: str, *, shown: bool) -> str:
    """Return "nsae loses 0.012 ± 0.003 nats per token less than baseline in all 6 layers".

    shown: whether there is a difference.
    """
    first, second, name = comparison.first, comparison.second, comparison.measure
    number = f"{plus_minus(abs(mean.value), mean.half_width)}{OBJECTS.get(name, _unit(name))}"
    word = word_for(name, _sign(mean))
    has_verb = name in VERBS
    amount = (
        f"{second} {VERBS[name]} {number} {word}" if has_verb else f"{title_of(name)} of {second} is {number} {word}"
    )
    if shown:
        return f"{amount} than {'' if has_verb else 'that of '}{first} {where}"
    return f"{second} and {first} are not shown to differ in {title_of(name)} {where} ({amount})"


def _by_layer(comparison: Comparison) -> str:
    """Return "more in 3 (layers 3, 4, 5), less in 2 (layers 0, 1), undecided in 1 (layer 2)".

    The correction for the number of layers is named if it is why a layer is undecided.
    """
    measure = comparison.measure
    hooks = {verdict: comparison.with_verdict(verdict) for verdict in (*OPPOSITE, "undecided")}
    if len(hooks["undecided"]) == len(comparison.differences):
        decidable = [d for hook, d in comparison.differences.items() if hook not in comparison.undecidable]
        largest = max(d.largest_plausible for d in decidable)
        return f"undecided in each layer alone{_correction(comparison)}, none beyond ±{largest:.2g}{_unit(measure)}"
    words = {verdict: word_for(measure, verdict) for verdict in OPPOSITE} | {"undecided": "undecided"}
    text = ", ".join(f"{words[verdict]} in {len(at)} ({layer_list(at)})" for verdict, at in hooks.items() if at)
    return f"{text}{_correction(comparison)}"


def _correction(comparison: Comparison) -> str:
    """Return " after correction for 6 layers" if a layer is undecided whose interval excludes 0."""
    undecided = (hook for hook in comparison.with_verdict("undecided") if hook not in comparison.undecidable)
    if any(comparison.differences[hook].p_value <= SIGNIFICANCE for hook in undecided):
        return f" after correction for {len(comparison.differences)} layers"
    return ""


def _sign(mean: LayerMean) -> str:
    return "higher" if mean.value > 0 else "lower"


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
