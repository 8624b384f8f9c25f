"""The difference of each SAE's mean L0 from its target, which is its `--target-l0`, or its k."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import MeasureRow
from analyze.tables import layer_list, markdown, short, with_interval
from data.store.stats import Subset

WITHIN = 0.02  # of the target

TITLES = {
    "hook": "hook", "run": "run", "target": "target L0", "l0": "L0, held out", "miss": "miss",
    "within": "within 2 %", "l0_training": "L0, training rows", "l0_before": "before the correction",
    "threshold_before": "threshold before", "threshold": "threshold",
}  # fmt: skip


@dataclass(frozen=True)
class TargetRow:
    """The mean L0 of an SAE on held-out rows, noise off, beside its target.

    low, high: the 95 % interval of `l0`.
    miss: l0 / target − 1.
    l0_before, l0_training, threshold_before, threshold, rows: L0 before and after the last correction of the
        thresholds, on `rows` training rows, and the mean threshold; None without a correction.
    """

    run: str
    variant: str
    hook: str
    target: float
    l0: float
    low: float
    high: float
    miss: float
    within: bool
    l0_training: float | None
    l0_before: float | None
    threshold_before: float | None
    threshold: float | None
    rows: int | None


def target_rows(measures: Sequence[MeasureRow], runs: Sequence[TrainedRun]) -> list[TargetRow]:
    """Return one row per SAE that has a target, from the rows of its held-out measures, noise off."""
    known = {run.name: run for run in runs if run.target_l0}
    corrections = {name: run.corrections() for name, run in known.items()}
    rows = []
    for measured in measures:
        if measured.measure != "l0" or measured.noise or measured.subset != Subset.ALL:
            continue
        if (run := known.get(measured.run)) is None:
            continue
        last = corrections[run.name].get(measured.hook)
        miss = measured.value / run.target_l0 - 1
        corrected = (
            (last.l0, last.l0_before, last.threshold_before, last.threshold, last.rows)
            if last
            else (None, None, None, None, None)
        )
        rows.append(
            TargetRow(
                run.name, run.variant, measured.hook, run.target_l0, measured.value, measured.low, measured.high, miss,
                abs(miss) <= WITHIN, *corrected,
            )
        )  # fmt: skip
    return rows


def summary(rows: Sequence[TargetRow]) -> str:
    """Say in one sentence how many SAEs are within 2 % of their target, and name the others; empty without rows."""
    if not rows:
        return ""
    missed = [row for row in rows if not row.within]
    counted = f"{len(rows) - len(missed)} of {len(rows)} SAEs are within {WITHIN:.0%} of their target L0"
    if not missed:
        return f"{counted}."
    by_run: dict[str, list[TargetRow]] = {}
    for row in missed:
        by_run.setdefault(row.run, []).append(row)
    named = "; ".join(f"{run} in {_misses(of_run)}" for run, of_run in by_run.items())
    return f"{counted}; these are not: {named}."


def _misses(rows: Sequence[TargetRow]) -> str:
    misses = ", ".join(f"{row.miss:+.1%}" for row in rows)
    return f"{layer_list([row.hook for row in rows])} ({misses})"


def as_table(rows: Sequence[TargetRow]) -> str:
    """Return the summary and a Markdown table with a row per SAE; empty without rows."""
    if not rows:
        return ""
    lines = [
        [
            row.hook, row.run, short(row.target), with_interval(row.l0, row.low, row.high), f"{row.miss:+.1%}",
            "yes" if row.within else "no",
            *map(short, (row.l0_training, row.l0_before, row.threshold_before, row.threshold)),
        ]
        for row in rows
    ]  # fmt: skip
    return f"{summary(rows)}\n\n{markdown(list(TITLES.values()), lines)}"
