"""The section "By layer": the curves against L0, and the differences at equal L0 in each layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analyze.compare.curves import HELD_OUT, PATCHED
from analyze.compare.differences import BetterRow, MatchedRow, which_is_better_by_layer
from analyze.compare.equal_l0.comparison import DifferenceRow
from analyze.compare.equal_l0.table import plan
from analyze.compare.summary.enumerations import joined
from analyze.report import html
from analyze.report.html import Columns
from analyze.report.pages.compare_two import verdict_columns
from analyze.report.pages.content import Content
from analyze.tables import layer_list
from train.measures import MEASURES, Shown, title_of

SAMPLES = {HELD_OUT: "On the held-out split", PATCHED: "With the language model"}


def shown_measure(row: MatchedRow) -> str:
    """Return the title of a row's measure; "any" if it could not be compared."""
    return "any" if row.value is None else title_of(row.measure)


def _compared_measure(row: BetterRow) -> str:
    compared = row.higher or row.lower or row.undecided
    return title_of(row.measure) if compared else f"any {SAMPLES[row.sample].lower()}"


def _number_and_layers(hooks: Sequence[str]) -> str:
    return f"{len(hooks)}: {layer_list(hooks)}" if hooks else html.NO_VALUE


DIFFERENCE_COLUMNS: Columns[DifferenceRow] = (
    ("difference", lambda r: f"{r.second} − {r.first}"), ("at L0", lambda r: r.l0),
    ("measure", lambda r: title_of(r.measure)), ("layer", lambda r: r.hook), ("value", html.interval),
    ("smallest detectable", lambda r: r.detectable), ("p, corrected for layers", lambda r: r.p_holm),
    ("verdict", lambda r: html.verdict(r.verdict)), ("would be decided by", plan), ("note", lambda r: r.note),
)  # fmt: skip
MATCHED_COLUMNS: Columns[MatchedRow] = (
    ("difference", lambda r: f"{r.second} − {r.first}"), ("layer", lambda r: r.hook), ("at L0", lambda r: r.l0),
    ("measure", shown_measure), ("value", html.interval), ("smallest detectable", lambda r: r.detectable),
    ("leave-one-out error", lambda r: r.leave_one_out_error), ("note", lambda r: r.note),
)  # fmt: skip
BETTER_COLUMNS: Columns[BetterRow] = (
    ("compared", lambda r: f"{r.second} against {r.first}"), ("measure", _compared_measure),
    ("higher in", lambda r: _number_and_layers(r.higher)), ("lower in", lambda r: _number_and_layers(r.lower)),
    ("undecided in", lambda r: _number_and_layers(r.undecided)),
    ("not compared in", lambda r: _number_and_layers(r.not_compared)),
)  # fmt: skip


def section(content: Content) -> dict[str, Any]:
    """Return what templates/layers.html shows of the report."""
    matched = once_per_reason(content.with_layers(content.tables.matched))
    return {
        "verdicts": html.table(
            [row for row in content.tables.verdicts if row.value is not None], verdict_columns(content)
        ),
        "sentences": [verdict.text for verdict in content.tables.verdicts],
        "differences": html.table(
            [row for row in content.with_layers(content.tables.differences) if row.value is not None],
            DIFFERENCE_COLUMNS,
        ),
        "better": html.table(_better_rows(content.tables.matched), BETTER_COLUMNS),
        "best_values": best_values(),
        "matched": [
            (title, html.table(rows, MATCHED_COLUMNS))
            for sample, title in SAMPLES.items()
            if (rows := [row for row in matched if row.sample == sample])
        ],
        "charts": [content.charts[name] for name in ("layers", "depth") if name in content.charts],
    }


def once_per_reason(rows: Sequence[MatchedRow]) -> list[MatchedRow]:
    """Return the rows, but one for each reason for which no measure could be compared."""
    shown: dict[tuple[Any, ...], MatchedRow] = {}
    for row in rows:
        shown.setdefault((row.sample, row.hook, row.first, row.second, row.l0, shown_measure(row), row.note), row)
    return list(shown.values())


def _better_rows(matched: Sequence[MatchedRow]) -> list[BetterRow]:
    """Return the rows of `which_is_better_by_layer`, but one for each pair that overlaps in no layer."""
    rows: dict[tuple[str, str, str], BetterRow] = {}
    for row in which_is_better_by_layer(matched):
        rows[row.first, row.second, _compared_measure(row)] = row
    return list(rows.values())


def best_values() -> str:
    """Say which values of the measures compared at equal L0 are better, in one sentence."""
    by_direction = {
        direction: [m.title for m in MEASURES if Shown.AT_EQUAL_L0 in m.shown and m.better == direction]
        for direction in ("higher", "lower", "near 1", "near 0")
    }
    higher, lower, near_1, near_0 = map(joined, by_direction.values())
    return f"Higher is better for {higher}; lower for {lower}. The best value of {near_1} is 1; of {near_0}, 0."
