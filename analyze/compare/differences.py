"""Differences between each two families at every L0 that they share (the table `matched`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from analyze.compare.curves import compared_measures
from analyze.compare.equal_l0.difference import difference
from analyze.compare.equal_l0.matched import NotComparedError, match
from analyze.compare.equal_l0.shared_l0 import shared_l0_values
from analyze.compare.equal_l0.sides import Side
from analyze.runs.configurations import configurations
from analyze.runs.families import families
from analyze.runs.progress import unfinished
from analyze.runs.settled import Drift, unsettled
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.cells import holm, signs
from analyze.statistics.estimates import Estimates
from analyze.tables import markdown, short, with_interval
from train.measures import title_of

NO_OVERLAP = "their ranges of L0 do not overlap"


@dataclass(frozen=True)
class MatchedRow:
    """The second family's measure less the first's at a hook and an L0, noise off (the table `matched`).

    sample: HELD_OUT or PATCHED, what the measure and L0 were measured on.
    l0: None if the ranges of the families do not overlap.
    at_first … effective_groups: None where the difference could not be computed.
    value: the difference, with its 95 % interval from `low` to `high`.
    p: None where the difference decides nothing.
    note: why the difference could not be computed, or decides nothing; empty if neither.
    unfinished: the unfinished runs of both families.
    """

    sample: str
    hook: str
    first: str
    second: str
    measure: str
    l0: float | None
    at_first: float | None = None
    at_second: float | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    detectable: float | None = None
    p: float | None = None
    interpolation_error: float | None = None
    leave_one_out_error: float | None = None
    seeds: int | None = None
    effective_groups: float | None = None
    note: str = ""
    unfinished: list[str] = field(default_factory=list)


def matched_rows(
    estimates: Estimates, runs: Sequence[TrainedRun], sample: str, drifts: Sequence[Drift] = ()
) -> list[MatchedRow]:
    """Return the differences between each two families: one row per hook, L0 (see `shared_l0_values`) and measure.

    drifts: those of the runs. sample: what the estimates, including L0, were measured on.
    """
    rows: list[MatchedRow] = []
    sides = [Side(name, configurations(members)) for name, members in families(runs).items()]
    for hook in dict.fromkeys(key.hook for key in estimates):
        for first, second in combinations([side for side in sides if any(hook in run.hooks for run in side.runs)], 2):
            names = [run.name for side in (first, second) for run in side.runs if not run.finished]
            l0_values: list[float | None] = [*shared_l0_values(estimates, first, second, hook)]
            for l0 in l0_values or [None]:
                for measure in compared_measures(estimates):
                    empty = MatchedRow(sample, hook, first.name, second.name, measure, l0, unfinished=names)
                    rows.append(_with_numbers(empty, estimates, first, second, drifts))
    return rows


def _with_numbers(
    row: MatchedRow, estimates: Estimates, first: Side, second: Side, drifts: Sequence[Drift]
) -> MatchedRow:
    if row.l0 is None:
        return replace(row, note=NO_OVERLAP)
    try:
        matched = [match(estimates, estimates, side, row.hook, row.measure, row.l0) for side in (first, second)]
    except NotComparedError as reason:
        return replace(row, note=str(reason))
    gap = difference(*matched)
    runs = [run for side in matched for run in side.runs]
    missing, moving = unfinished(runs), unsettled(drifts, runs, row.hook)
    note = f"unfinished: {missing}" if missing else f"not settled: {moving}" if moving else gap.why_undecidable()
    return replace(
        row, at_first=gap.at_first, at_second=gap.at_second, value=gap.value, low=gap.value - gap.half_width(),
        high=gap.value + gap.half_width(), detectable=gap.detectable, p=None if note else gap.p_value,
        interpolation_error=gap.interpolation_error, leave_one_out_error=gap.leave_one_out_error, seeds=gap.n_seeds,
        effective_groups=gap.effective_groups, note=note,
    )  # fmt: skip


@dataclass(frozen=True)
class BetterRow:
    """The hooks in which the second family's measure is higher than the first's, lower, undecided, or not compared."""

    sample: str
    first: str
    second: str
    measure: str
    higher: list[str]
    lower: list[str]
    undecided: list[str]
    not_compared: list[str]


def which_is_better_by_layer(rows: Sequence[MatchedRow]) -> list[BetterRow]:
    """Return one row per sample, pair of families and measure.

    A hook's p-value is the largest over its L0, and 1 if the differences have several signs or one decides nothing. It
    is corrected for the number of hooks (Holm).
    """
    by_pair: dict[tuple[str, str, str, str], dict[str, list[MatchedRow]]] = {}
    for row in rows:
        by_hook = by_pair.setdefault((row.sample, row.first, row.second, row.measure), {})
        by_hook.setdefault(row.hook, []).append(row)
    results = []
    for key, by_hook in by_pair.items():
        compared = {hook: [row for row in at if row.value is not None] for hook, at in by_hook.items()}
        known = {hook: at for hook, at in compared.items() if at}
        p = np.array([_largest_p(at) for at in known.values()])
        decided = signs(np.array([at[0].value for at in known.values()]), holm(p))
        sign_of = dict(zip(known, decided.tolist(), strict=True))
        higher, lower, undecided = ([hook for hook in known if sign_of[hook] == sign] for sign in (1, -1, 0))
        not_compared = [hook for hook in by_hook if hook not in known]
        results.append(BetterRow(*key, higher, lower, undecided, not_compared))
    return results


def _largest_p(rows: Sequence[MatchedRow]) -> float:
    """Return the largest p-value of differences that were computed; 1 if one is unknown, or their signs differ."""
    p = [row.p for row in rows if row.p is not None]
    one_sign = len({math.copysign(1, row.value) for row in rows if row.value is not None}) == 1
    return max(p) if one_sign and len(p) == len(rows) and np.isfinite(p).all() else 1.0


def matched_table(rows: Sequence[MatchedRow]) -> str:
    """Return the differences as Markdown: a row per pair of families, hook, L0 and measure.

    A reason for which no measure could be compared is one row.
    """
    lines: dict[tuple[str, ...], None] = {}
    for row in rows:
        shown = row.value is not None
        line = (
            row.hook, f"{row.second} − {row.first}", ", ".join(row.unfinished) or "–", short(row.l0),
            title_of(row.measure) if shown else "any",
            with_interval(row.value, row.low, row.high) if shown else "not compared",
            short(row.detectable), short(row.leave_one_out_error), row.note,
        )  # fmt: skip
        lines[line] = None
    header = ["hook", "difference", "unfinished runs", "at L0", "measure", "value", "smallest detectable"]
    return markdown([*header, "leave-one-out error", "note"], [list(line) for line in lines])
