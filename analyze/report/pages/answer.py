"""The answer of the report: verdicts, one chart, and a table with a row per architecture and L0."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

from analyze.compare.summary.summary import BEST, TIED, Summary, SummaryLine
from analyze.report import html
from analyze.report.html import HtmlCell, Table
from analyze.report.pages.compared import enumerate_names
from analyze.report.pages.content import Content
from train.measures import measure_of, title_of

NOT_COMPARED = "At no common L0"
MARKS = {BEST: "★", TIED: "≈"}


def section(content: Content) -> dict[str, Any]:
    """Return what templates/index.html shows of the report."""
    summary = content.summary
    return {
        "sentences": summary.sentences,
        "chart": content.charts.get("pareto"),
        "table": summary_table(summary),
        "key": summary_key(summary, content.scope.heldout.unit),
    }


def summary_table(summary: Summary) -> Table:
    """Return the summary as a table, in groups by the L0 at which architectures are compared."""
    about = {name: [getattr(line, name) for line in summary.lines] for name in ("layers", "seeds")}
    varying = [name for name, numbers in about.items() if len(set(numbers)) > 1]
    groups: dict[str, list[list[HtmlCell]]] = {}
    for line in summary.lines:
        row = [
            HtmlCell(line.family, below=line.note), html.plain(line.l0),
            *(_cell(line, measure) for measure in summary.measures),
            *(html.plain(getattr(line, name)) for name in varying),
        ]  # fmt: skip
        groups.setdefault(NOT_COMPARED if line.target is None else f"At L0 = {line.target:g}", []).append(row)
    better = {title_of(name): direction for name, direction in html.directions_of(summary.measures).items()}
    return Table(["architecture", "L0", *map(title_of, summary.measures), *varying], groups, better)


def summary_key(summary: Summary, unit: str) -> str:
    """Return the key to the table: what its marks and numbers mean, and which values are better."""
    by_direction = defaultdict(list)
    for measure in summary.measures:
        by_direction[measure_of(measure).better].append(title_of(measure))
    better = "; ".join(f"{direction} for {enumerate_names(titles)}" for direction, titles in by_direction.items())
    rows = next((line.rows_counted for line in summary.lines if line.rows_counted is not None), None)
    dead = (
        f" Dead features fire in none of {rows:,} held-out rows; the dead shares of several seeds are tied if their "
        "intervals, over seeds, overlap."
        if rows
        else ""
    )
    return (
        f"{MARKS[BEST]} best at this L0; {MARKS[TIED]} tied: not shown to be worse than the best. Means over layers, "
        f"noise off, with 95 % intervals over {unit}s and, with several seeds, over these. Better is {better}.{dead}"
    )


def _cell(line: SummaryLine, measure: str) -> HtmlCell:
    summary = line.cells.get(measure)
    if summary is None:
        return HtmlCell(html.NO_VALUE)
    html_cell = html.with_interval(summary.value, summary.low, summary.high, summary.mark)
    return replace(html_cell, text=f"{MARKS[summary.mark]} {html_cell.text}") if summary.mark in MARKS else html_cell
