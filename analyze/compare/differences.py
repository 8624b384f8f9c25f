"""Differences between each two families at every L0 that they share (the table `matched`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from analyze.compare.curves import compared_measures
from analyze.compare.equal_l0.difference import Difference, difference
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
from analyze.tables import Row, markdown, short, with_interval
from train.measures import title_of

NO_OVERLAP = "their ranges of L0 do not overlap"
NUMBERS = (
    "at_first", "at_second", "value", "low", "high", "detectable", "p", "interpolation_error", "leave_one_out_error",
    "seeds", "effective_groups",
)  # fmt: skip
SIDES = {1: "higher", -1: "lower", 0: "undecided"}


def difference_lines(
    estimates: Estimates, runs: Sequence[TrainedRun], sample: str, drifts: Sequence[Drift] = ()
) -> list[Row]:
    """Return the differences between each two families, the second's measure less the first's, noise off.

    There is one line per hook, L0 (see `shared_l0_values`) and measure. Where a difference could not be computed, its
    numbers are None and `note` has the reason; where it decides nothing, `note` has the reason and `p` is None.
    `unfinished` names the unfinished runs of both families. drifts: those of the runs.

    sample: HELD_OUT or PATCHED, what the estimates, including L0, were measured on.
    """
    lines: list[Row] = []
    sides = [Side(name, configurations(members)) for name, members in families(runs).items()]
    for hook in dict.fromkeys(key.hook for key in estimates):
        for first, second in combinations([side for side in sides if any(hook in run.hooks for run in side.runs)], 2):
            names = [run.name for side in (first, second) for run in side.runs if not run.finished]
            l0_values: list[float | None] = [*shared_l0_values(estimates, first, second, hook)]
            for l0 in l0_values or [None]:
                for measure in compared_measures(estimates):
                    lines.append({
                        "sample": sample, "hook": hook, "first": first.name, "second": second.name,
                        "measure": measure, "l0": l0, **_numbers(estimates, first, second, hook, measure, l0, drifts),
                        "unfinished": names,
                    })  # fmt: skip
    return lines


def _numbers(
    estimates: Estimates, first: Side, second: Side, hook: str, measure: str, l0: float | None, drifts: Sequence[Drift]
) -> Row:
    if l0 is None:
        return {**dict.fromkeys(NUMBERS), "note": NO_OVERLAP}
    try:
        matched = [match(estimates, estimates, side, hook, measure, l0) for side in (first, second)]
    except NotComparedError as reason:
        return {**dict.fromkeys(NUMBERS), "note": str(reason)}
    gap = difference(*matched)
    runs = [run for side in matched for run in side.runs]
    missing, moving = unfinished(runs), unsettled(drifts, runs, hook)
    note = f"unfinished: {missing}" if missing else f"not settled: {moving}" if moving else gap.why_undecidable()
    return {**_values(gap), "p": None if note else gap.p_value, "note": note}


def _values(gap: Difference) -> Row:
    return {
        "at_first": gap.at_first, "at_second": gap.at_second, "value": gap.value,
        "low": gap.value - gap.half_width(), "high": gap.value + gap.half_width(), "detectable": gap.detectable,
        "p": None, "interpolation_error": gap.interpolation_error, "leave_one_out_error": gap.leave_one_out_error,
        "seeds": gap.n_seeds, "effective_groups": gap.effective_groups,
    }  # fmt: skip


def which_is_better_by_layer(lines: Sequence[Row]) -> list[Row]:
    """Return, per sample, pair of families and measure, the hooks where the second family is higher, lower or neither.

    lines: as from `difference_lines`. A hook's p-value is the largest over its L0, and 1 if the differences have
    several signs or one decides nothing. It is corrected for the number of hooks (Holm).
    """
    names = ("sample", "first", "second", "measure")
    by_pair: dict[tuple[str, ...], dict[str, list[Row]]] = {}
    for line in lines:
        by_pair.setdefault(tuple(line[name] for name in names), {}).setdefault(line["hook"], []).append(line)
    results = []
    for key, by_hook in by_pair.items():
        compared = {hook: [line for line in at if line["value"] is not None] for hook, at in by_hook.items()}
        known = {hook: at for hook, at in compared.items() if at}
        p = np.array([_largest_p(at) for at in known.values()])
        decided = signs(np.array([at[0]["value"] for at in known.values()]), holm(p))
        hooks: dict[str, list[str]] = {verdict: [] for verdict in SIDES.values()}
        for hook, sign in zip(known, decided.tolist(), strict=True):
            hooks[SIDES[sign]].append(hook)
        not_compared = [hook for hook in by_hook if hook not in known]
        results.append({**dict(zip(names, key, strict=True)), **hooks, "not_compared": not_compared})
    return results


def _largest_p(lines: Sequence[Row]) -> float:
    p = [line["p"] for line in lines]
    one_sign = len({math.copysign(1, line["value"]) for line in lines}) == 1
    return max(p) if one_sign and None not in p and np.isfinite(p).all() else 1.0


def difference_table(lines: Sequence[Row]) -> str:
    """Return `difference_lines` as Markdown: a row per pair of families, hook, L0 and measure.

    A reason for which no measure could be compared is one row.
    """
    rows: dict[tuple[str, ...], None] = {}
    for line in lines:
        shown = line["value"] is not None
        row = (
            line["hook"], f"{line['second']} − {line['first']}", ", ".join(line["unfinished"]) or "–",
            short(line["l0"]), title_of(line["measure"]) if shown else "any",
            with_interval(line) if shown else "not compared",
            *(short(line[name]) for name in ("detectable", "leave_one_out_error")), line["note"],
        )  # fmt: skip
        rows[row] = None
    header = ["hook", "difference", "unfinished runs", "at L0", "measure", "value", "smallest detectable"]
    return markdown([*header, "leave-one-out error", "note"], [list(row) for row in rows])
