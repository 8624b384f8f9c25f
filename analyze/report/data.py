"""The report's tables as data: metrics.json, and one CSV file per table. docs/report-data.md describes the columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from analyze.compare.claims import decide_claims
from analyze.compare.curves import HELD_OUT, PATCHED, curve_lines
from analyze.compare.differences import difference_lines
from analyze.compare.equal_l0.comparison import compare
from analyze.compare.equal_l0.matching import Matching, samples_of
from analyze.compare.equal_l0.sentence import verdict_line
from analyze.compare.equal_l0.sides import find_sides, targets
from analyze.compare.layer_means import layer_mean_lines
from analyze.compare.seed_spread import spread_lines
from analyze.compare.summary.summarize import summarize as summarize_comparison
from analyze.compare.summary.summary import Summary
from analyze.compare.targets import target_lines
from analyze.compare.theory import theory_lines
from analyze.measure.measurements import Measurements, Scope
from analyze.measure.norms import norm_lines
from analyze.measure.patching.over_training import over_training_lines
from analyze.measure.patching.patch import clean_positions
from analyze.runs.progress import progress
from analyze.runs.same_rows import stored_type
from analyze.runs.settled import Drift, has_settled
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import estimate_rows
from analyze.tables import Row, as_csv
from data.summary import summarize as summarize_store
from data.system.location import write_file
from train.measures import COMPARED

Tables = dict[str, list[Row]]

OF_EVERY_RUN = (
    "lr", "input_scale", "input_mean", "seed", "expansion", "batch_size", "trained", "planned", "l1_warmup",
    "lr_warmup", "lr_decay", "clip", "adam_beta1", "adam_beta2", "adam_epsilon", "dtype", "precision", "finished",
    "settled",
)  # fmt: skip


def write_csv(out: Path, tables: Mapping[str, Sequence[Row]]) -> None:
    """Write NAME.csv per table into the folder `out`."""
    for name, lines in tables.items():
        write_file(out / f"{name}.csv", as_csv(lines).encode())


def match_runs(measurements: Measurements) -> Matching:
    """Return the measures of the runs' families at any L0, which the summary and the tables share."""
    samples = samples_of(measurements.held_out, measurements.patched, measurements.fires)
    return Matching(samples, find_sides(measurements.runs, ()), measurements.hooks)


def report_summary(measurements: Measurements, matching: Matching, unit: str) -> Summary:
    """Return the answer of the report. unit: what intervals are over, "document" or "context"."""
    return summarize_comparison(matching, measurements.fires, targets(matching.sides), measurements.drifts, unit)


def report_tables(measurements: Measurements, matching: Matching, unit: str, summary: Summary) -> Tables:
    """Return every table by name. The lines of a table all have the same keys.

    matching: see `match_runs`. unit: what intervals are over, "document" or "context". summary: see `report_summary`.
    """
    runs = measurements.runs
    points = {HELD_OUT: measurements.held_out_of_configurations, PATCHED: measurements.patched_of_configurations}
    measured = {HELD_OUT: measurements.held_out, PATCHED: measurements.patched}
    comparisons = compare(matching, COMPARED, targets(matching.sides), measurements.drifts, unit)
    return {
        "summary": summary.rows(),
        "claims": [claim.line() for claim in decide_claims(measurements)],
        "verdicts": [dict(vars(verdict_line(comparison))) for comparison in comparisons],
        "differences": [dict(vars(line)) for comparison in comparisons for line in comparison.lines()],
        "measures": estimate_rows(measurements.held_out, runs),
        "patching": estimate_rows(measurements.patched, runs),
        "over_training": over_training_lines(measurements.over_training),
        "points": [
            line
            for sample, estimates in points.items()
            for line in curve_lines(estimates, measurements.configurations, sample)
        ],
        "layer_means": [
            line
            for sample, estimates in points.items()
            for line in layer_mean_lines(estimates, measurements.configurations, sample)
        ],
        "matched": [
            line
            for sample, estimates in measured.items()
            if estimates
            for line in difference_lines(estimates, runs, sample, measurements.drifts)
        ],
        "seed_spread": [
            line
            for sample, estimates in points.items()
            for line in spread_lines(estimates, measurements.configurations, sample)
        ],
        "features": [line for fires in measurements.fires for line in fires.lines()],
        "dictionary": [dictionary.line for dictionary in measurements.dictionaries],
        "norms": norm_lines(measurements.norms),
        "stability": list(measurements.stability),
        "theory": theory_lines(measurements),
        "targets": target_lines(estimate_rows(measurements.held_out, runs), runs),
        "settledness": [drift.line() for drift in measurements.drifts],
        "runs": run_lines(runs, measurements.drifts),
    }


def run_lines(runs: Sequence[TrainedRun], measured: Sequence[Drift] = ()) -> list[Row]:
    """Return each run's settings and progress as a line of the table `runs`; None where a run has no such setting."""
    own_settings = dict.fromkeys(
        name for run in runs for name in asdict(run.settings.run.settings) if name not in OF_EVERY_RUN
    )
    names = ("variant", *own_settings, *OF_EVERY_RUN)
    lines: list[Row] = []
    for run in runs:
        settings, experiment, run_settings = run.settings.to_json(), run.settings.experiment, run.settings.run
        optimisation = {**vars(experiment.schedule_of(run_settings)), "clip": experiment.clip_of(run_settings)}
        known = {**settings["run"], **settings["objective"], **settings, **optimisation, **progress(run)}
        known["dtype"] = stored_type(run.settings.provenance)
        known["settled"] = has_settled(measured, run.name)
        lines.append({"run": run.name, **{name: known.get(name) for name in names}})
    return lines


def metrics_json(measurements: Measurements, scope: Scope, tables: Tables, summary: Summary) -> Row:
    """Return the content of metrics.json: the store, the scope, the summary's sentences and every table."""
    heldout, store = scope.heldout, scope.store
    return {
        "schema": 1, "store": asdict(summarize_store(store)), "provenance": store.provenance,
        "scope": {
            "held_out": heldout.n_contexts, "patched": scope.patched.n_contexts,
            "snapshots": scope.snapshots.n_contexts if scope.snapshots else 0, "seed": scope.seed,
            "keep_first": scope.keep_first, **heldout.groups_line(),
            "clean_positions": n_clean_positions(measurements, scope),
        },
        "left_out": list(measurements.left_out), "answer": summary.sentences,
        **tables,
    }  # fmt: skip


def n_clean_positions(measurements: Measurements, scope: Scope) -> int:
    """Return how many first positions of each context patching left unchanged; 0 if nothing was patched."""
    return clean_positions(scope.store, keep_first=scope.keep_first) if measurements.patched else 0
