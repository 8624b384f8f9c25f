"""The difference of each SAE's mean L0 from its target, which is its `--target-l0`, or its k."""

from __future__ import annotations

from collections.abc import Sequence

from analyze.runs.trained_run import TrainedRun
from analyze.tables import Row, layer_list, markdown, short, with_interval
from data.store.stats import Subset

WITHIN = 0.02  # of the target

TITLES = {
    "hook": "hook", "run": "run", "target": "target L0", "l0": "L0, held out", "miss": "miss",
    "within": "within 2 %", "l0_training": "L0, training rows", "l0_before": "before the correction",
    "threshold_before": "threshold before", "threshold": "threshold",
}  # fmt: skip


def target_lines(measures: Sequence[Row], runs: Sequence[TrainedRun]) -> list[Row]:
    """Return one line per SAE that has a target, from the lines of its held-out measures, noise off.

    `l0_before`, `l0_training`, `threshold_before` and `threshold` are those of the last correction, on `rows` training
    rows; None without one.
    """
    known = {run.name: run for run in runs if run.target_l0}
    corrections = {name: run.corrections() for name, run in known.items()}
    lines = []
    for measured in measures:
        if measured["measure"] != "l0" or measured["noise"] or measured["subset"] != Subset.ALL:
            continue
        if (run := known.get(measured["run"])) is None:
            continue
        correction = corrections[run.name].get(measured["hook"])
        miss = measured["value"] / run.target_l0 - 1
        lines.append(
            {
                "run": run.name, "variant": run.variant, "hook": measured["hook"], "target": run.target_l0,
                "l0": measured["value"], "low": measured["low"], "high": measured["high"], "miss": miss,
                "within": abs(miss) <= WITHIN, "l0_training": correction and correction.l0,
                "l0_before": correction and correction.l0_before,
                "threshold_before": correction and correction.threshold_before,
                "threshold": correction and correction.threshold, "rows": correction and correction.rows,
            }
        )  # fmt: skip
    return lines


def summary(lines: Sequence[Row]) -> str:
    """Say in one sentence how many SAEs are within 2 % of their target, and name the others; empty without lines."""
    if not lines:
        return ""
    missed = [line for line in lines if not line["within"]]
    counted = f"{len(lines) - len(missed)} of {len(lines)} SAEs are within {WITHIN:.0%} of their target L0"
    if not missed:
        return f"{counted}."
    by_run: dict[str, list[Row]] = {}
    for line in missed:
        by_run.setdefault(line["run"], []).append(line)
    named = "; ".join(f"{run} in {_misses(missed_lines)}" for run, missed_lines in by_run.items())
    return f"{counted}; these are not: {named}."


def _misses(lines: Sequence[Row]) -> str:
    misses = ", ".join(f"{line['miss']:+.1%}" for line in lines)
    return f"{layer_list([line['hook'] for line in lines])} ({misses})"


def as_table(lines: Sequence[Row]) -> str:
    """Return the summary and a Markdown table with a row per SAE; empty without lines."""
    if not lines:
        return ""
    cells = [
        [
            line["hook"], line["run"], short(line["target"]), with_interval({**line, "value": line["l0"]}),
            f"{line['miss']:+.1%}", "yes" if line["within"] else "no",
            *(short(line[key]) for key in ("l0_training", "l0_before", "threshold_before", "threshold")),
        ]
        for line in lines
    ]  # fmt: skip
    return f"{summary(lines)}\n\n{markdown(list(TITLES.values()), cells)}"
