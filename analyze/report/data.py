"""The report's tables as data: metrics.json, and one CSV file per table. docs/report-data.md describes the columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from analyze.compare.claims import decide_claims
from analyze.compare.claims.claim import Claim
from analyze.compare.curves import HELD_OUT, PATCHED, PointRow, point_rows
from analyze.compare.differences import MatchedRow, matched_rows
from analyze.compare.equal_l0.comparison import DifferenceRow, compare
from analyze.compare.equal_l0.matching import Matching, samples_of
from analyze.compare.equal_l0.sentence import VerdictRow, verdict_row
from analyze.compare.equal_l0.sides import find_sides, targets
from analyze.compare.layer_means import LayerMeanRow, layer_mean_rows
from analyze.compare.seed_spread import SpreadRow, spread_rows
from analyze.compare.summary.summarize import summarize as summarize_comparison
from analyze.compare.summary.summary import Summary, SummaryRow
from analyze.compare.targets import TargetRow, target_rows
from analyze.compare.theory import TheoryRow, theory_rows
from analyze.measure.dictionary_summary import DictionaryRow
from analyze.measure.firing import FeatureRow
from analyze.measure.measurements import Measurements, Scope
from analyze.measure.norms import NormRow, norm_rows
from analyze.measure.patching.over_training import SnapshotRow, snapshot_rows
from analyze.measure.patching.patch import clean_positions
from analyze.measure.stability import StabilityRow
from analyze.runs.progress import progress
from analyze.runs.same_rows import stored_type
from analyze.runs.settled import Drift, DriftRow, has_settled
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import MeasureRow, measure_rows
from analyze.tables import TableRow, as_csv
from data.summary import summarize as summarize_store
from data.system.location import write_file
from train.measures import COMPARED


@dataclass(frozen=True)
class RunRow:
    """A run's settings and progress. settings: by name, a column each; None where it has none, or it is unknown."""

    run: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Tables:
    """Every table of a report, under its name in metrics.json and csv/."""

    summary: Sequence[SummaryRow]
    claims: Sequence[Claim]
    verdicts: Sequence[VerdictRow]
    differences: Sequence[DifferenceRow]
    measures: Sequence[MeasureRow]
    patching: Sequence[MeasureRow]
    over_training: Sequence[SnapshotRow]
    points: Sequence[PointRow]
    layer_means: Sequence[LayerMeanRow]
    matched: Sequence[MatchedRow]
    seed_spread: Sequence[SpreadRow]
    features: Sequence[FeatureRow]
    dictionary: Sequence[DictionaryRow]
    norms: Sequence[NormRow]
    stability: Sequence[StabilityRow]
    theory: Sequence[TheoryRow]
    targets: Sequence[TargetRow]
    settledness: Sequence[DriftRow]
    runs: Sequence[RunRow]


OF_EVERY_RUN = (
    "lr", "input_scale", "input_mean", "seed", "expansion", "batch_size", "trained", "planned", "l1_warmup",
    "lr_warmup", "lr_decay", "clip", "adam_beta1", "adam_beta2", "adam_epsilon", "dtype", "precision", "finished",
    "settled",
)  # fmt: skip
OF_IMPORTED_RUNS = ("variant", "input_scale", "input_mean", "expansion", "trained", "planned", "finished", "settled")


def write_csv(out: Path, tables: Mapping[str, Sequence[TableRow]]) -> None:
    """Write NAME.csv per table into the folder `out`."""
    for name, rows in tables.items():
        write_file(out / f"{name}.csv", as_csv(rows).encode())


def match_runs(measurements: Measurements) -> Matching:
    """Return the measures of the runs' families at any L0, which the summary and the tables share."""
    samples = samples_of(measurements.held_out, measurements.patched, measurements.fires)
    return Matching(samples, find_sides(measurements.runs, ()), measurements.hooks)


def report_summary(measurements: Measurements, matching: Matching, unit: str) -> Summary:
    """Return the answer of the report. unit: what intervals are over, "document" or "context"."""
    return summarize_comparison(matching, measurements.fires, targets(matching.sides), measurements.drifts, unit)


def report_tables(measurements: Measurements, matching: Matching, unit: str, summary: Summary) -> Tables:
    """Return every table.

    matching: see `match_runs`. unit: what intervals are over, "document" or "context". summary: see `report_summary`.
    """
    runs, configured = measurements.runs, measurements.configurations
    points = {HELD_OUT: measurements.held_out_of_configurations, PATCHED: measurements.patched_of_configurations}
    measured = {HELD_OUT: measurements.held_out, PATCHED: measurements.patched}
    comparisons = compare(matching, COMPARED, targets(matching.sides), measurements.drifts, unit)
    measures = measure_rows(measurements.held_out, runs)
    return Tables(
        summary=summary.rows(),
        claims=decide_claims(measurements),
        verdicts=[verdict_row(comparison) for comparison in comparisons],
        differences=[row for comparison in comparisons for row in comparison.rows()],
        measures=measures,
        patching=measure_rows(measurements.patched, runs),
        over_training=snapshot_rows(measurements.over_training),
        points=[row for sample, at in points.items() for row in point_rows(at, configured, sample)],
        layer_means=[row for sample, at in points.items() for row in layer_mean_rows(at, configured, sample)],
        matched=[
            row
            for sample, estimates in measured.items()
            if estimates
            for row in matched_rows(estimates, runs, sample, measurements.drifts)
        ],
        seed_spread=[row for sample, at in points.items() for row in spread_rows(at, configured, sample)],
        features=[row for fires in measurements.fires for row in fires.feature_rows()],
        dictionary=[dictionary.row for dictionary in measurements.dictionaries],
        norms=norm_rows(measurements.norms),
        stability=measurements.stability,
        theory=theory_rows(measurements),
        targets=target_rows(measures, runs),
        settledness=[drift.row() for drift in measurements.drifts],
        runs=run_rows(runs, measurements.drifts),
    )


def run_rows(runs: Sequence[TrainedRun], measured: Sequence[Drift] = ()) -> list[RunRow]:
    """Return each run's settings and progress: of all architectures, then those that every run has.

    Of an imported run, only what its files say.
    """
    own_settings = dict.fromkeys(
        name for run in runs for name in asdict(run.settings.run.settings) if name not in OF_EVERY_RUN
    )
    names = ("variant", *own_settings, *OF_EVERY_RUN)
    rows = []
    for run in runs:
        settings, experiment, run_settings = run.settings.to_json(), run.settings.experiment, run.settings.run
        optimisation = {**vars(experiment.schedule_of(run_settings)), "clip": experiment.clip_of(run_settings)}
        known = {**settings["run"], **settings["objective"], **settings, **optimisation, **vars(progress(run))}
        known["dtype"] = stored_type(run.settings.provenance)
        known["settled"] = has_settled(measured, run.name)
        if (imported := run.settings.imported) is not None:  # the rest is not that of its training
            known = {name: known.get(name) for name in (*OF_IMPORTED_RUNS, *imported.get("settings", ()))}
        rows.append(RunRow(run.name, {name: known.get(name) for name in names}))
    return rows


def metrics_json(measurements: Measurements, scope: Scope, tables: Tables, summary: Summary) -> dict[str, Any]:
    """Return the content of metrics.json: the store, the scope, the summary's sentences and every table."""
    heldout, store = scope.heldout, scope.store
    return {
        "schema": 1, "store": asdict(summarize_store(store)), "provenance": store.provenance,
        "scope": {
            "held_out": heldout.n_contexts, "patched": scope.patched.n_contexts,
            "snapshots": scope.snapshots.n_contexts if scope.snapshots else 0, "seed": scope.seed,
            "keep_first": scope.keep_first, **heldout.describe_groups(),
            "clean_positions": n_clean_positions(measurements, scope),
        },
        "left_out": list(measurements.left_out), "answer": summary.sentences,
        **vars(tables),
    }  # fmt: skip


def n_clean_positions(measurements: Measurements, scope: Scope) -> int:
    """Return how many first positions of each context patching left unchanged; 0 if nothing was patched."""
    return clean_positions(scope.store, keep_first=scope.keep_first) if measurements.patched else 0
