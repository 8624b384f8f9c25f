"""HTML pages that need no other file, and the tables on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from analyze.report.charts import javascript_bundle
from analyze.tables import short
from analyze.web.document import FRAME, document, resource
from train.measures import measure_of

PACKAGE = "analyze.report"
NO_VALUE = "–"
CHART_SCRIPTS = ("nearest.js", "charts.js")
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

    better: by column head, which values are better ("higher", "lower", "near 1"): sorting shows these first.
    """

    header: list[str]
    groups: dict[str, list[list[HtmlCell]]] = field(default_factory=dict)
    better: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> list[list[HtmlCell]]:
        return [row for rows in self.groups.values() for row in rows]


Content = HtmlCell | str | float | None
R = TypeVar("R")
Columns = Sequence[tuple[str, Callable[[R], Content]]]  # heads, and what the cells of a row show


class OfMeasure(Protocol):
    """A row of one measure."""

    @property
    def measure(self) -> str: ...


class Estimated(Protocol):
    """A row with a value and its interval, None where they are unknown."""

    @property
    def value(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


M = TypeVar("M", bound=OfMeasure)


def page(template: str, *, draws_charts: bool = False, more_scripts: Sequence[str] = (), **content: Any) -> str:
    """Fill in a template, with styles and scripts included, and return the HTML document.

    draws_charts: whether the page has interactive charts, whose scripts take about a megabyte.
    more_scripts: the names of this page's own scripts.

    Raises jinja2.UndefinedError if the template uses a name that is not in `content`.
    """
    styles, scripts = [resource(PACKAGE, "style.css")], [resource(FRAME, "sort.js"), resource(PACKAGE, "page.js")]
    if draws_charts:
        styles.append(resource(PACKAGE, "charts.css"))
        scripts += [javascript_bundle(), *(resource(PACKAGE, name) for name in CHART_SCRIPTS)]
    scripts += [resource(PACKAGE, name) for name in more_scripts]
    return document(PACKAGE, template, styles=styles, scripts=scripts, **content)


def table(rows: Iterable[R], columns: Columns[R]) -> Table:
    """Return rows as a table with a line per row."""
    return Table([head for head, _ in columns], {"": [cells(row, columns) for row in rows]})


def cells(row: R, columns: Columns[R]) -> list[HtmlCell]:
    """Return the cells of one row."""
    return [_cell(content(row)) for _, content in columns]


def wide(
    rows: Iterable[M], by: Columns[M], measures: Mapping[str, str], content: Callable[[M], Content], *,
    better: Mapping[str, str] | None = None,
) -> Table:  # fmt: skip
    """Return rows of one measure each as a table with a column per measure.

    by: the columns that identify a line.
    measures: measures to show, with their column heads.
    content: what the cell of a row shows.
    better: by measure, which values are better; None: as the registry of measures says.

    Raises ValueError if two rows belong in one cell, as rows of two samples would.
    """
    by_line: dict[tuple[Content, ...], dict[str, M]] = {}
    for row in rows:
        if row.measure in measures:
            line = by_line.setdefault(tuple(part(row) for _, part in by), {})
            if row.measure in line:
                raise ValueError(f"two values of {row.measure} in one cell: {line[row.measure]} and {row}")
            line[row.measure] = row
    cells = [
        [
            *(_cell(part) for part in parts),
            *(_cell(content(line[name])) if name in line else HtmlCell(NO_VALUE) for name in measures),
        ]
        for parts, line in by_line.items()
    ]
    directions = directions_of(measures) if better is None else better
    heads = {measures[name]: direction for name, direction in directions.items()}
    return Table([*(head for head, _ in by), *measures.values()], {"": cells}, heads)


def directions_of(measures: Iterable[str]) -> dict[str, str]:
    """Return by measure which values are better, of those where the registry says so."""
    return {name: better for name in measures if (better := measure_of(name).better) is not None}


def _cell(content: Content) -> HtmlCell:
    return content if isinstance(content, HtmlCell) else plain(content)


def verdict(text: str) -> HtmlCell:
    """Return a verdict as a cell in its colour."""
    return HtmlCell(text, mark=f"verdict {text.replace(' ', '-')}")


def plain(value: str | float | None) -> HtmlCell:
    """Return a value without an interval as a cell; what is undefined is a dash."""
    if isinstance(value, bool):
        return HtmlCell("on" if value else "off")
    if isinstance(value, int):
        return HtmlCell(f"{value:,}", value)
    if value is None or isinstance(value, float):
        known = value is not None and math.isfinite(value)
        return HtmlCell(short(value), value) if known else HtmlCell(NO_VALUE)
    return HtmlCell(str(value))


def interval(row: Estimated) -> HtmlCell:
    """Return the value of a row with its interval as a cell."""
    return with_interval(row.value, row.low, row.high)


def with_interval(value: float | None, low: float | None, high: float | None, mark: str = "") -> HtmlCell:
    """Return a value with its interval, to the digits in which the interval's ends differ."""
    cell = plain(value)
    if cell.value is None or low is None or high is None or low == high or not math.isfinite(low + high):
        return HtmlCell(cell.text, cell.value, mark=mark)
    digits = max(0, 1 - math.floor(math.log10(high - low)))
    return HtmlCell(f"{value:.{digits}f}", value, f"{low:.{digits}f} to {high:.{digits}f}", mark)
