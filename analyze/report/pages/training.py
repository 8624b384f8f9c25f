"""The section "Training": the runs, whether their measures have settled, and how near they came to their target L0."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from analyze.compare import targets
from analyze.report import html
from analyze.report.pages.content import Content
from analyze.runs.progress import progress
from analyze.runs.settled import DECISIVE, LIMIT, SETTLED, Drift, has_settled, why_unsettled
from analyze.runs.trained_run import TrainedRun
from analyze.tables import Row, short, trained_on
from train.measures import title_of

RUN_COLUMNS = {"run": "run", "family": "family", "rows": "trained on", "l1": "α", "lr": "lr", "layers": "layers",
               "l0": "L0, range over layers",
               "explained_variance": "explained variance, range over layers", "settled": "settled"}  # fmt: skip
DRIFT_COLUMNS = {"run": "run", "hook": "layer", "measure": "measure", "value": "change in the last tenth",
                 "settled": "settled"}  # fmt: skip
TARGET_COLUMNS = {"run": "run", "hook": "layer"} | {
    "value" if key == "l0" else key: title for key, title in targets.TITLES.items() if key not in ("run", "hook")
}


def section(content: Content) -> dict[str, Any]:
    """Return what templates/training.html shows of the report."""
    drifts = content.with_layers([_drift_line(drift) for drift in content.measurements.drifts])
    return {
        "runs": html.table(_run_lines(content), RUN_COLUMNS),
        "drifts": html.table(drifts, DRIFT_COLUMNS),
        "settled_limit": f"{LIMIT:.0%}",
        "targets": html.table(_target_lines(content.table("targets")), TARGET_COLUMNS),
        "target_summary": targets.summary(content.tables["targets"]),
        "chart": content.charts.get("training"),
        "figures": content.figures_of("training"),
    }


def _run_lines(content: Content) -> list[Row]:
    """Return one line per run, by family and α, with the ranges of its measures over the layers."""
    measurements = content.measurements

    def layer_range(run: TrainedRun, measure: str) -> str:
        estimates = [measurements.value(run, hook, measure) for hook in run.hooks]
        values = [estimate.value for estimate in estimates if estimate is not None and math.isfinite(estimate.value)]
        return f"{short(min(values))} to {short(max(values))}" if values else html.NO_VALUE

    return [
        {"run": run.name, "family": family, "rows": trained_on(progress(run)), "l1": run.l1,
         "lr": run.settings.run.lr, "layers": len(run.hooks), "l0": layer_range(run, "l0"),
         "explained_variance": layer_range(run, "explained_variance"),
         "settled": _settled(measurements.drifts, run.name)}
        for family, runs in measurements.families.items()
        for run in sorted(runs, key=lambda run: run.sparsity)
    ]  # fmt: skip


def _settled(drifts: Sequence[Drift], run: str) -> str:
    why = why_unsettled(drifts, run)
    return f"no: {why}" if why else SETTLED[has_settled(drifts, run)]


def _target_lines(lines: Sequence[Row]) -> list[Row]:
    return [{**line, "value": line["l0"], "within": "yes" if line["within"] else "no"} for line in lines]


def _drift_line(drift: Drift) -> Row:
    line = drift.line()
    settled = SETTLED[drift.settled] if drift.measure in DECISIVE else html.NO_VALUE
    return {**line, "value": line["change"], "measure": title_of(drift.measure), "settled": settled}
