"""The section "All measures": every measure of each run and layer, and what the measures are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analyze.report import html
from analyze.report.data import n_clean_positions
from analyze.report.pages.content import Content
from analyze.tables import Row
from data.store.stats import Subset
from train.measures import MEASURES, Shown

MEASURE_COLUMNS = {"run": "run", "hook": "layer", "noise": "noise", "subset": "positions", "rows": "rows"}
DEAD_TITLE = "dead in these rows"
PATCHING_COLUMNS = {"run": "run", "hook": "layer", "noise": "noise"}
DEFINITION_COLUMNS = {"title": "measure", "better": "better", "unit": "unit", "formula": "definition"}


def section(content: Content) -> dict[str, Any]:
    """Return what templates/measures.html shows of the report."""
    runs, heldout = content.measurements.runs, content.scope.heldout
    measured, patched = measured_lines(content), content.table("patching")
    return {
        "scope": f"Held-out split, {heldout.n_contexts:,} contexts. {heldout.groups_sentence()}",
        "l2": " or ".join(sorted({run.settings.experiment.objective.l2 for run in runs})),
        "held_out": html.wide(measured, MEASURE_COLUMNS, {**columns(measured, Shown.TABLES), "dead": DEAD_TITLE}),
        "scope_patched": _scope_patched(content),
        "patched": html.wide(patched, PATCHING_COLUMNS, columns(patched, Shown.TABLES)),
        "definitions": html.table(_definitions(measured, patched), DEFINITION_COLUMNS),
    }


def measured_lines(content: Content) -> list[Row]:
    """Return the lines of `measures` and, as such lines, the dead shares of `features`, each with its count of rows.

    They are those of all positions and of all but the first.
    """
    about = ("run", "hook", "noise", "subset")
    features = content.table("features")
    rows = {tuple(line[key] for key in about): line["rows"] for line in features}
    dead = [
        {**{key: line[key] for key in about}, "measure": "dead", "value": line["dead"], "low": None, "high": None}
        for line in features
    ]
    return [
        {**line, "rows": rows[tuple(line[key] for key in about)]}
        for line in (*content.table("measures"), *dead)
        if line["subset"] in (Subset.ALL, Subset.WITHOUT_FIRST)
    ]


def columns(lines: Sequence[Row], shown: Shown) -> dict[str, str]:
    """Return the measures of the lines that are shown there, by name, with their titles."""
    measured = {line["measure"] for line in lines}
    return {m.name: m.title for m in MEASURES if shown in m.shown and m.name in measured}


def _definitions(*tables: Sequence[Row]) -> list[Row]:
    """Return a line per measure of the tables that the report shows; "dead" is not one of a sample's sums."""
    measured = {line["measure"] for lines in tables for line in lines}
    shown = {m.name: m for m in reversed(MEASURES) if m.shown and m.name in measured}
    return [
        {"title": m.title, "better": m.better or html.NO_VALUE, "unit": m.unit or html.NO_VALUE, "formula": m.formula}
        for m in reversed(shown.values())
    ]


def _scope_patched(content: Content) -> str:
    scope, n_clean = content.scope, n_clean_positions(content.measurements, content.scope)
    snapshots = scope.snapshots if content.measurements.over_training else None
    return (
        f"{scope.patched.n_contexts:,} evenly spaced contexts of the held-out split"
        + (f"; {snapshots.n_contexts:,} for the measures over training" if snapshots else "")
        + (f"; the first {n_clean} positions of each context are left clean and not counted in L0" if n_clean else "")
        + f". {scope.patched.groups_sentence()}"
    )
