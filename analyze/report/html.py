"""HTML pages that need no other file, and the tables on them, which sort by a click on a column's head."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from analyze.tables import Row, short

INTERVAL = ("low", "high")


@dataclass(frozen=True)
class Cell:
    """A table's cell.

    value: the number that the column sorts by; None sorts by the text.
    interval: shown below the text.
    verdict: whether the text is a claim's verdict, which has a colour.
    """

    text: str
    value: float | None = None
    interval: str = ""
    verdict: bool = False


@dataclass(frozen=True)
class Table:
    """Column heads, and rows of as many cells."""

    header: list[str]
    rows: list[list[Cell]]


def page(template: str, **content: Any) -> str:
    """Fill in a template, with style and script included, and return the HTML document.

    Raises jinja2.UndefinedError if the template uses a name that is not in `content`.
    """
    environment = Environment(
        loader=PackageLoader("analyze.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    style, script = (
        Markup((files("analyze.report") / "templates" / name).read_text(encoding="utf-8"))
        for name in ("style.css", "page.js")
    )
    return environment.get_template(template).render(style=style, script=script, **content)


def table(lines: Iterable[Row], columns: Mapping[str, str]) -> Table:
    """Return lines as a table with a row per line; `columns` maps their keys to column heads.

    The column `value` also shows the line's interval, `low` to `high`.
    """
    rows = [[_cell(line, key) for key in columns] for line in lines]
    return Table(list(columns.values()), rows)


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
        [*(plain(part) for part in key), *(_value(row[name]) if name in row else Cell("–") for name in measures)]
        for key, row in by_key.items()
    ]
    return Table([*by.values(), *measures.values()], rows)


def _cell(line: Row, key: str) -> Cell:
    if key == "value" and all(end in line for end in INTERVAL):
        return _value(line)
    return Cell(str(line[key]), verdict=True) if key == "verdict" else plain(line[key])


def plain(value: Any) -> Cell:
    """Return a value without an interval as a cell; what is undefined is a dash."""
    if isinstance(value, bool):
        return Cell("on" if value else "off")
    if isinstance(value, int):
        return Cell(f"{value:,}", value)
    if value is None or isinstance(value, float):
        known = value is not None and math.isfinite(value)
        return Cell(short(value), value) if known else Cell("–")
    return Cell(str(value))


def _value(line: Row) -> Cell:
    """Return a value with its interval, to the digits in which the interval's ends differ."""
    cell = plain(line["value"])
    low, high = (line[end] for end in INTERVAL)
    if cell.value is None or low is None or high is None or low == high or not math.isfinite(low + high):
        return cell
    digits = max(0, 1 - math.floor(math.log10(high - low)))
    return Cell(f"{line['value']:.{digits}f}", line["value"], f"{low:.{digits}f} to {high:.{digits}f}")
