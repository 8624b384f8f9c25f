"""HTML pages that need no other file, and the tables on them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from analyze.report.charts import javascript_bundle
from analyze.tables import Row, short
from analyze.web.document import document, resource

PACKAGE = "analyze.report"
INTERVAL = ("low", "high")
NO_VALUE = "–"
SHOWN, LONG = 100, 140  # a text of more characters than LONG is folded after SHOWN


@dataclass(frozen=True)
class HtmlCell:
    """A table's cell.

    value: the number that the column sorts by; None sorts by the text.
    below: shown in small type below the text, such as an interval.
    mark: a class of the cell in the style sheet, such as that of a verdict.
    """

    text: str
    value: float | None = None
    below: str = ""
    mark: str = ""

    @property
    def beginning(self) -> str:
        """The part of the text that is always shown: whole words."""
        return self.text if len(self.text) <= LONG else self.text[:SHOWN].rsplit(" ", 1)[0]

    @property
    def rest(self) -> str:
        """The part of a long text that is folded."""
        return self.text[len(self.beginning) :]


@dataclass(frozen=True)
class Table:
    """Column heads, and rows of as many cells, by the title of the group that they are shown in.

    A table without groups has one, whose title is empty. Sorting keeps rows in their group.
    """

    header: list[str]
    groups: dict[str, list[list[HtmlCell]]] = field(default_factory=dict)

    @property
    def rows(self) -> list[list[HtmlCell]]:
        return [row for rows in self.groups.values() for row in rows]


def page(template: str, *, draws_charts: bool = False, **content: Any) -> str:
    """Fill in a template, with styles and scripts included, and return the HTML document.

    draws_charts: whether the page has interactive charts, whose scripts take about a megabyte.

    Raises jinja2.UndefinedError if the template uses a name that is not in `content`.
    """
    styles, scripts = [resource(PACKAGE, "style.css")], [resource(PACKAGE, "page.js")]
    if draws_charts:
        styles.append(resource(PACKAGE, "charts.css"))
        scripts += [javascript_bundle(), resource(PACKAGE, "charts.js")]
    return document(PACKAGE, template, styles=styles, scripts=scripts, **content)


def table(lines: Iterable[Row], columns: Mapping[str, str]) -> Table:
    """Return lines as a table with a row per line; `columns` maps their keys to column heads.

    The column `value` also shows the line's interval, `low` to `high`.
    """
    return Table(list(columns.values()), {"": [[_cell(line, key) for key in columns] for line in lines]})


def wide(lines: Sequence[Row], by: Mapping[str, str], measures: Mapping[str, str]) -> Table:
    """Return lines with one `measure` and `value` each as a table with a column per measure.

    by: keys that identify a row, with their column heads.
    measures: measures to show, with their column heads.

    Raises ValueError if two lines belong in one cell, as lines of two samples would.
    """
    by_key: dict[tuple[Any, ...], dict[str, Row]] = {}
    for line in lines:
        if line["measure"] in measures:
            row, measure = by_key.setdefault(tuple(line[key] for key in by), {}), line["measure"]
            if measure in row:
                raise ValueError(f"two values of {measure} in one cell: {row[measure]} and {line}")
            row[measure] = line
    rows = [
        [
            *(plain(part) for part in key),
            *(_value(row[name]) if name in row else HtmlCell(NO_VALUE) for name in measures),
        ]
        for key, row in by_key.items()
    ]
    return Table([*by.values(), *measures.values()], {"": rows})


def _cell(line: Row, key: str) -> HtmlCell:
    if key == "value" and all(end in line for end in INTERVAL):
        return _value(line)
    if key == "verdict":
        return HtmlCell(line[key], mark=f"verdict {line[key].replace(' ', '-')}")
    return plain(line[key])


def plain(value: Any) -> HtmlCell:
    """Return a value without an interval as a cell; what is undefined is a dash."""
    if isinstance(value, bool):
        return HtmlCell("on" if value else "off")
    if isinstance(value, int):
        return HtmlCell(f"{value:,}", value)
    if value is None or isinstance(value, float):
        known = value is not None and math.isfinite(value)
        return HtmlCell(short(value), value) if known else HtmlCell(NO_VALUE)
    return HtmlCell(str(value))


def _value(line: Row) -> HtmlCell:
    return with_interval(line["value"], line["low"], line["high"])


def with_interval(value: float | None, low: float | None, high: float | None, mark: str = "") -> HtmlCell:
    """Return a value with its interval, to the digits in which the interval's ends differ."""
    cell = plain(value)
    if cell.value is None or low is None or high is None or low == high or not math.isfinite(low + high):
        return HtmlCell(cell.text, cell.value, mark=mark)
    digits = max(0, 1 - math.floor(math.log10(high - low)))
    return HtmlCell(f"{value:.{digits}f}", value, f"{low:.{digits}f} to {high:.{digits}f}", mark)
