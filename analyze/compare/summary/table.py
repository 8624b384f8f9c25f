"""The summary as a printed text: its sentences, and the table with a row per architecture and L0."""

from __future__ import annotations

from analyze.compare.summary.summary import NO_MARK, Summary, SummaryCell
from analyze.tables import markdown, short, with_interval
from train.measures import dead_title, title_of


def as_text(summary: Summary) -> str:
    """Return the sentences and a Markdown table; empty without lines."""
    if not summary.lines:
        return "\n".join(summary.sentences)
    header = ["architecture", "compared at L0", "L0", "seeds", "layers", *_titles(summary), "note"]
    rows = [
        [
            line.family, short(line.target), short(line.l0), str(line.seeds), str(line.layers),
            *(_text(line.cells[name]) for name in summary.measures), line.note,
        ]
        for line in summary.lines
    ]  # fmt: skip
    return "\n".join([*summary.sentences, "", markdown(header, rows)])


def _titles(summary: Summary) -> list[str]:
    rows = next((line.rows_counted for line in summary.lines if line.rows_counted), None)
    return [dead_title(rows) if name == "dead" and rows else title_of(name) for name in summary.measures]


def _text(cell: SummaryCell) -> str:
    """Return "0.81 [0.80, 0.82] (best)"."""
    mark = f" ({cell.mark})" if cell.mark != NO_MARK else ""
    return with_interval(cell.value, cell.low, cell.high) + mark
