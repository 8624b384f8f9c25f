"""The section "Training": the runs, whether their measures have settled, and how near they came to their target L0."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from analyze.compare import targets
from analyze.compare.targets import TargetRow
from analyze.report import html
from analyze.report.charts.pareto import heading
from analyze.report.html import Columns, Table
from analyze.report.pages.content import Content
from analyze.runs.progress import progress
from analyze.runs.settled import DECISIVE, LIMIT, SETTLED, Drift, DriftRow, has_settled, states_of_saes, why_unsettled
from analyze.runs.trained_run import TrainedRun
from analyze.tables import layer_list, layers, short
from train.measures import title_of

DRIFT_COLUMNS: Columns[DriftRow] = (
    ("run", lambda d: d.run), ("layer", lambda d: d.hook), ("measure", lambda d: title_of(d.measure)),
    ("change in the last tenth", lambda d: html.with_interval(d.change, d.low, d.high)),
    ("settled", lambda d: SETTLED[d.settled] if d.measure in DECISIVE else html.NO_VALUE),
)  # fmt: skip
TARGET_COLUMNS: Columns[TargetRow] = (
    ("run", lambda t: t.run), ("layer", lambda t: t.hook), ("target L0", lambda t: t.target),
    ("L0, held out", lambda t: html.with_interval(t.l0, t.low, t.high)), ("miss", lambda t: t.miss),
    ("within 2 %", lambda t: "yes" if t.within else "no"), ("L0, training rows", lambda t: t.l0_training),
    ("before the correction", lambda t: t.l0_before), ("threshold before", lambda t: t.threshold_before),
    ("threshold", lambda t: t.threshold),
)  # fmt: skip


def section(content: Content) -> dict[str, Any]:
    """Return what templates/training.html shows of the report."""
    return {
        "runs": runs_table(content),
        "settled": settled_table(content),
        "drifts": html.table(content.with_layers(content.tables.settledness), DRIFT_COLUMNS),
        "settled_limit": f"{LIMIT:.0%}",
        "targets": html.table(content.with_layers(content.tables.targets), TARGET_COLUMNS),
        "target_summary": targets.summary(content.tables.targets),
        "chart": content.charts.get("training"),
        "figures": content.figures_of("training"),
    }


def runs_table(content: Content) -> Table:
    """Return a table with a line per run, by family and α, with the ranges of its measures over the layers."""
    measurements = content.measurements

    def layer_range(run: TrainedRun, measure: str) -> str:
        estimates = [measurements.value(run, hook, measure) for hook in run.hooks]
        values = [estimate.value for estimate in estimates if estimate is not None and math.isfinite(estimate.value)]
        return f"{short(min(values))} to {short(max(values))}" if values else html.NO_VALUE

    family_of = {run.name: family for family, runs in measurements.families.items() for run in runs}
    columns: Columns[TrainedRun] = (
        ("run", lambda run: run.name), ("family", lambda run: family_of[run.name]),
        ("trained on", lambda run: str(progress(run))), ("α", lambda run: _trained(run, _alpha(run))),
        ("lr", lambda run: _trained(run, run.settings.run.lr)), ("layers", lambda run: len(run.hooks)),
        ("L0, range over layers", lambda run: layer_range(run, "l0")),
        ("explained variance, range over layers", lambda run: layer_range(run, "explained_variance")),
        ("settled", lambda run: _settled(measurements.drifts, run.name)),
    )  # fmt: skip
    by_family = (sorted(runs, key=lambda run: run.sparsity) for runs in measurements.families.values())
    return html.table(chain.from_iterable(by_family), columns)


def settled_table(content: Content) -> Table:
    """Return in how many runs the SAE of each architecture and layer has settled."""
    runs, hooks = content.measurements.runs, content.measurements.hooks
    states = states_of_saes(content.measurements.drifts, runs)

    def settled(variant: str, hook: str) -> str:
        known = [states[run.name, hook] for run in runs if run.variant == variant and hook in run.hooks]
        return f"{known.count(True)} of {len(known)}" if known else html.NO_VALUE

    def column(hook: str) -> Callable[[str], html.Content]:
        return lambda variant: settled(variant, hook)

    of_layers = [(heading(name), column(hook)) for name, hook in zip(layers(hooks), hooks, strict=True)]
    return html.table(content.variants, [("architecture", lambda variant: variant), *of_layers])


def _trained(run: TrainedRun, setting: float | None) -> float | None:
    """Return a setting of a run's training; None if it is imported, and its files do not say."""
    return setting if run.settings.imported is None else None


def _alpha(run: TrainedRun) -> float | None:
    """Return α; None for an architecture that has none."""
    alpha: float | None = getattr(run.settings.run.settings, "l1", None)
    return alpha


def _settled(drifts: Sequence[Drift], run: str) -> str:
    if why := why_unsettled(drifts, run):
        return f"no: {why}"
    known = [drift for drift in drifts if drift.run == run and drift.measure in DECISIVE]
    unknown = list(dict.fromkeys(drift.hook for drift in known if drift.settled is None))
    partly = 0 < len(unknown) < len({drift.hook for drift in known})
    return f"{SETTLED[has_settled(drifts, run)]}{f' in {layer_list(unknown)}' * partly}"
