"""The section "All measures": every measure of each run and layer, and what the measures are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analyze.report import html
from analyze.report.data import n_clean_positions
from analyze.report.html import Columns, OfMeasure
from analyze.report.pages import compared
from analyze.report.pages.content import Content
from analyze.statistics.estimates import MeasureRow
from data.store.stats import Subset
from train.measures import MEASURES, Measure, Shown


@dataclass(frozen=True)
class ShownMeasure:
    """A measure, or the dead share, of an SAE on the `rows` rows of a subset of positions."""

    run: str
    hook: str
    noise: bool
    subset: str
    rows: int
    measure: str
    value: float
    low: float | None = None
    high: float | None = None


MEASURE_COLUMNS: Columns[ShownMeasure] = (
    ("run", lambda r: r.run), ("layer", lambda r: r.hook), ("noise", lambda r: r.noise),
    ("positions", lambda r: r.subset), ("rows", lambda r: r.rows),
)  # fmt: skip
WITHOUT_POSITIONS = [column for column in MEASURE_COLUMNS if column[0] != "positions"]
DEAD_TITLE = "dead in these rows"
PATCHING_COLUMNS: Columns[MeasureRow] = (
    ("run", lambda r: r.run), ("layer", lambda r: r.hook), ("noise", lambda r: r.noise),
)  # fmt: skip
DEFINITION_COLUMNS: Columns[Measure] = (
    ("measure", lambda m: m.title), ("better", lambda m: m.better or html.NO_VALUE),
    ("unit", lambda m: m.unit or html.NO_VALUE), ("definition", lambda m: m.formula),
)  # fmt: skip


def section(content: Content) -> dict[str, Any]:
    """Return what templates/measures.html shows of the report."""
    runs, heldout = content.measurements.runs, content.scope.heldout
    measured, patched = measured_rows(content), content.with_layers(content.tables.patching)
    by_position = len({row.subset for row in measured}) > 1
    return {
        "scope": f"Held-out split, {heldout.n_contexts:,} contexts. {heldout.groups_sentence()}",
        "l2": " or ".join(sorted({run.settings.experiment.objective.l2 for run in runs})),
        "by_position": by_position,
        "held_out": html.wide(
            measured,
            MEASURE_COLUMNS if by_position else WITHOUT_POSITIONS,
            {**columns(measured, Shown.TABLES), "dead": DEAD_TITLE},
            html.interval,
        ),
        "scope_patched": _scope_patched(content),
        "patched": html.wide(patched, PATCHING_COLUMNS, columns(patched, Shown.TABLES), html.interval),
        "definitions": html.table(_definitions(measured, patched), DEFINITION_COLUMNS),
    }


def measured_rows(content: Content) -> list[ShownMeasure]:
    """Return the table `measures` and the dead shares of `features`, on all positions and on all but the first.

    These are the same if the store has no first positions; then each row is there once.
    """
    features = content.with_layers(content.tables.features)
    rows = {(f.run, f.hook, f.noise, f.subset): f.rows for f in features}
    shown = [
        *(
            ShownMeasure(
                m.run, m.hook, m.noise, m.subset, rows[m.run, m.hook, m.noise, m.subset], m.measure, m.value, m.low,
                m.high,
            )
            for m in content.with_layers(content.tables.measures)
        ),
        *(ShownMeasure(f.run, f.hook, f.noise, f.subset, f.rows, "dead", f.dead) for f in features),
    ]  # fmt: skip
    subsets = (Subset.ALL,) if content.scope.store.schema.skip_positions else (Subset.ALL, Subset.WITHOUT_FIRST)
    return [row for row in shown if row.subset in subsets]


def columns(rows: Sequence[OfMeasure], shown: Shown) -> dict[str, str]:
    """Return the measures of the rows that are shown there, by name, with their titles."""
    measured = {row.measure for row in rows}
    return {m.name: m.title for m in MEASURES if shown in m.shown and m.name in measured}


def _definitions(*tables: Sequence[OfMeasure]) -> list[Measure]:
    """Return the measures of the tables that the report shows; "dead" is not one of a sample's sums."""
    measured = {row.measure for rows in tables for row in rows}
    shown = {m.name: m for m in reversed(MEASURES) if m.shown and m.name in measured}
    return list(reversed(shown.values()))


def _scope_patched(content: Content) -> str:
    scope, n_clean = content.scope, n_clean_positions(content.measurements, content.scope)
    snapshots = scope.snapshots if content.measurements.over_training else None
    clean = f"; the first {compared.count(n_clean, 'position')} of each context stay as they are and are not in L0"
    return (
        f"{scope.patched.n_contexts:,} evenly spaced contexts of the held-out split"
        + (f"; {snapshots.n_contexts:,} for the measures over training" if snapshots else "")
        + f"{clean if n_clean else ''}. {scope.patched.groups_sentence()}"
    )
