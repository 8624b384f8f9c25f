"""The rule that decides every claim, from a number per layer and place, with a margin.

A place is an L0 at which two families are compared, or a run. A claim is decided in each layer, at all of its places,
and then over all layers; never on a mean, in which opposite differences cancel.

    a layer         holds if the number lies beyond the margin at every place; does not hold if it lies on the other
                    side at one: one-sided tests at 5 %, corrected for the number of layers (Holm)
    all layers      holds if it holds in most layers, does not hold if it cannot (partial conjunction test, at 5 %)
    no difference   needs the 90 % interval within ±margin at every place of every layer (two one-sided tests at 5 %,
                    which need no correction), and does not hold if a layer's number lies outside ±margin (Holm)
    not enough data is the verdict otherwise

An unfinished run leaves its claim without a verdict. A layer with an unsettled run, too few documents or two seeds
decides nothing. With one seed a verdict is about these trained SAEs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analyze.compare.claims.claim import (
    ALL_LAYERS,
    DECIDED,
    UNFINISHED,
    UNSETTLED,
    Cell,
    Cells,
    Claim,
    ClaimHeader,
    Verdict,
    count_by_layer,
    join_notes,
)
from analyze.compare.claims.evidence import Evidence
from analyze.runs.progress import unfinished
from analyze.statistics.cells import holm, most, partial_conjunction
from analyze.statistics.jackknife import Float
from analyze.tables import layer_list, short

SIGNIFICANCE = 0.05
MOST_NAMED = 6  # places named in a note
NO_NUMBER = "no layer has this number"
ONE_SEED = "about these trained SAEs, not their architectures (one seed)"


def decide_above(
    header: ClaimHeader, statistic: str, numbers: Cells, margin: float, *, note: str = ""
) -> Iterator[Claim]:
    """Decide that a statistic is greater than the margin: over all layers, then in each."""
    rule = _Rule(
        f"more than {margin:g}", margin,
        lambda evidence: evidence.p_above(margin), lambda evidence: evidence.p_below(margin),
    )  # fmt: skip
    return _decide(header, statistic, numbers, rule, note)


def decide_equivalent(
    header: ClaimHeader, statistic: str, numbers: Cells, margin: float, *, note: str = ""
) -> Iterator[Claim]:
    """Decide that a statistic is 0, up to ±margin: over all layers, then in each."""
    rule = _Rule(
        f"within ±{margin:g}", margin,
        lambda evidence: max(evidence.p_above(-margin), evidence.p_below(margin)),
        lambda evidence: min(1.0, 2 * min(evidence.p_above(margin), evidence.p_below(-margin))), somewhere=True,
    )  # fmt: skip
    return _decide(header, statistic, numbers, rule, note)


@dataclass(frozen=True)
class _Rule:
    """p-values of a claim and of its opposite, from one number.

    somewhere: whether one layer outside ±margin decides against the claim. If not, most layers decide.
    """

    criterion: str
    margin: float
    holds: Callable[[Evidence], float]
    fails: Callable[[Evidence], float]
    somewhere: bool = False

    def nearest_margin(self, value: float) -> float:
        """Return the limit of the claim that is nearest to a value."""
        return math.copysign(self.margin, value) if self.somewhere else self.margin


@dataclass(frozen=True)
class _Layer:
    """The numbers of a claim in one layer, and its p-values: 1 where the layer decides nothing."""

    hook: str
    cells: Sequence[Cell]
    holds: float = 1.0
    fails: float = 1.0
    reason: str = ""

    @property
    def unsettled(self) -> bool:
        """True if a number comes from runs that have not settled."""
        return any(cell.unsettled for cell in self.cells)

    @property
    def value(self) -> float:
        """The mean over the places."""
        return float(np.mean([cell.evidence.value for cell in self.cells]))

    @property
    def n_seeds(self) -> int:
        """The smallest number of seeds of a number."""
        return min(cell.evidence.n_seeds for cell in self.cells)

    def interval(self) -> tuple[float | None, float | None]:
        """Return the interval that contains those of all places; None if one is unknown."""
        bounds = np.array([cell.evidence.interval() for cell in self.cells])
        return (float(bounds.min()), float(bounds.max())) if np.isfinite(bounds).all() else (None, None)

    def detectable(self) -> float | None:
        """Return the smallest difference that is detectable at every place; None if one is unknown."""
        known = [cell.evidence.detectable for cell in self.cells]
        return max((d for d in known if d is not None and np.isfinite(d)), default=None) if None not in known else None

    def overturned_by(self, rule: _Rule) -> str:
        """Return what the verdict is about with one seed, and the spread over seeds that would overturn it."""
        numbers = [cell.evidence for cell in self.cells if cell.evidence.n_seeds == 1]
        spreads = [number.overturning_spread(rule.nearest_margin(number.value)) for number in numbers]
        if not spreads:
            return ""
        known = [spread for spread in spreads if spread is not None]
        overturned = f"; a spread over seeds above {short(min(known))} would overturn this" if known else ""
        return f"{ONE_SEED}{overturned}"


def _layer(hook: str, cells: Sequence[Cell], rule: _Rule) -> _Layer:
    """Combine the places of a layer: the claim must hold at all of them, and fails at one (Bonferroni)."""
    unsettled = dict.fromkeys(f"not settled: {cell.unsettled}" for cell in cells if cell.unsettled)
    reasons = dict.fromkeys([*unsettled, *(cell.evidence.why_not(rule.margin) for cell in cells)])
    if any(reasons):
        return _Layer(hook, cells, reason=join_notes(*reasons))
    holds, fails = (
        np.nan_to_num(np.array([p(cell.evidence) for cell in cells]), nan=1.0) for p in (rule.holds, rule.fails)
    )
    return _Layer(hook, cells, float(holds.max()), min(1.0, len(cells) * float(fails.min())))


def _decide(header: ClaimHeader, statistic: str, numbers: Cells, rule: _Rule, note: str) -> Iterator[Claim]:
    layers = [_layer(hook, cells, rule) for hook, cells in numbers.by_hook().items()]
    missing = unfinished(header.runs)
    stopped = f"unfinished: {missing}" if missing else ""
    fails = holm(np.array([layer.fails for layer in layers]))
    holds = np.array([layer.holds for layer in layers])
    holds = holds if rule.somewhere else holm(holds)

    def verdict_of(p_holds: float, p_fails: float, *, unsettled: bool) -> Verdict:
        if missing:
            return UNFINISHED
        if p_holds <= SIGNIFICANCE or p_fails <= SIGNIFICANCE:
            return "holds" if p_holds <= SIGNIFICANCE else "does not hold"
        return UNSETTLED if unsettled else "not enough data"

    def claim(
        hook: str, value: float | None, bounds: tuple[float | None, float | None], p: float | None,
        detectable: float | None, seeds: int, verdict: Verdict, own_note: str,
    ) -> Claim:  # fmt: skip
        return Claim(
            header.number, header.claim, header.compared, hook, header.positions, statistic, rule.criterion, value,
            *bounds, p, detectable, seeds, verdict, own_note,
        )  # fmt: skip

    rows = []
    for layer, p_holds, p_fails in zip(layers, holds.tolist(), fails.tolist(), strict=True):
        verdict = verdict_of(p_holds, p_fails, unsettled=layer.unsettled)
        about = layer.overturned_by(rule) if verdict in DECIDED else ""
        own_note = join_notes(stopped, about, layer.reason, _places(layer.cells))
        numbers_of = (layer.value, layer.interval(), p_holds, layer.detectable(), layer.n_seeds)
        rows.append(claim(layer.hook, *numbers_of, verdict, own_note))
    if tuple(numbers.hooks) == (ALL_LAYERS,) and rows:
        yield replace(rows[0], note=join_notes(rows[0].note, note))
        return
    p_holds, p_fails = _over_layers(layers, fails, len(numbers.hooks), rule)
    verdict = verdict_of(p_holds, p_fails, unsettled=any(layer.unsettled for layer in layers))
    values, seeds = [layer.value for layer in layers], min((layer.n_seeds for layer in layers), default=0)
    spread = _spread(values) if len(values) > 1 else ""
    about = ONE_SEED if seeds == 1 and verdict in DECIDED else ""
    reasons = _reasons(numbers.missing) or ("" if layers or note else NO_NUMBER)
    own_note = join_notes(stopped, about, spread, count_by_layer(rows), reasons, note)
    mean = float(np.mean(values)) if values else None
    yield claim(ALL_LAYERS, mean, (None, None), p_holds if layers else None, None, seeds, verdict, own_note)
    yield from rows


def _over_layers(layers: Sequence[_Layer], fails: Float, n_layers: int, rule: _Rule) -> tuple[float, float]:
    """Return the p-values over all layers; those that could not be compared count as undecided.

    fails: the layers' corrected p-values against the claim, [layers].
    """
    if not rule.somewhere:
        undecided = [1.0] * (n_layers - len(layers))
        p_holds, p_fails = (
            np.array([getattr(layer, side) for layer in layers] + undecided) for side in ("holds", "fails")
        )
        needed = most(n_layers)
        return partial_conjunction(p_holds, needed), partial_conjunction(p_fails, n_layers - needed + 1)
    holds = max((layer.holds for layer in layers), default=1.0) if len(layers) >= most(n_layers) else 1.0
    return holds, float(np.min(fails, initial=1.0))


def _spread(values: Sequence[float]) -> str:
    """Return the smallest and the largest value of a layer as text."""
    low, high = short(min(values)), short(max(values))
    return f"{low} in all layers" if low == high else f"{low} to {high} over the layers"


def _places(cells: Sequence[Cell]) -> str:
    """Return the places of a layer as text; only their number if there are many."""
    names = [cell.place for cell in cells if cell.place]
    return f"at {', '.join(names)}" if 0 < len(names) <= MOST_NAMED else f"at {len(names)} places" if names else ""


def _reasons(by_hook: Mapping[str, str]) -> str:
    """Return reasons by hook as text, each reason once."""
    hooks_of: dict[str, list[str]] = {}
    for hook, reason in by_hook.items():
        hooks_of.setdefault(reason, []).append(hook)
    return join_notes(*(f"{layer_list(hooks)}: {reason}" for reason, hooks in hooks_of.items()))
