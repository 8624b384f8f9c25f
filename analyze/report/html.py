"""Pages that stand alone: templates filled in, with style and script in them, and tables that sort.

Not here: what is on a page (report.py, feature_page.py).
"""

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
    """What is shown, what the column is sorted by if it is a number, and an interval below it."""

    text: str
    value: float | None = None
    interval: str = ""
    verdict: bool = False


@dataclass(frozen=True)
class Table:
    header: list[str]
    rows: list[list[Cell]]


def page(template: str, **content: Any) -> str:
    """A whole HTML document."""
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
    """Of lines, the columns by key and heading; a column `value` shows `low` and `high` of the line below it."""
    shown = [[_cell(line, key) for key in columns] for line in lines]
    return Table(list(columns.values()), shown)


def wide(lines: Sequence[Row], by: Mapping[str, str], measures: Mapping[str, str]) -> Table:
    """Of lines with one `measure` and its `value` each: a row for each combination of `by`, a column a measure.

    Raises ValueError if two lines belong into one cell, as lines of two samples would.
    """
    rows: dict[tuple[Any, ...], dict[str, Row]] = {}
    for line in lines:
        if line["measure"] in measures:
            row, measure = rows.setdefault(tuple(line[key] for key in by), {}), line["measure"]
            if measure in row:
                raise ValueError(f"two values of {measure} in one cell: {row[measure]} and {line}")
            row[measure] = line
    shown = [
        [*(plain(part) for part in key), *(_value(found[name]) if name in found else Cell("–") for name in measures)]
        for key, found in rows.items()
    ]
    return Table([*by.values(), *measures.values()], shown)


def _cell(line: Row, key: str) -> Cell:
    if key == "value" and all(end in line for end in INTERVAL):
        return _value(line)
    return Cell(str(line[key]), verdict=True) if key == "verdict" else plain(line[key])


def plain(value: Any) -> Cell:
    if isinstance(value, bool):
        return Cell("on" if value else "off")
    if isinstance(value, int):
        return Cell(f"{value:,}", value)
    if value is None or isinstance(value, float):
        known = value is not None and math.isfinite(value)
        return Cell(short(value), value) if known else Cell("–")
    return Cell(str(value))


def _value(line: Row) -> Cell:
    """Three digits, and the interval below where there is one of some width."""
    cell = plain(line["value"])
    low, high = (line[end] for end in INTERVAL)
    if cell.value is None or low is None or high is None or low == high or not math.isfinite(low + high):
        return cell
    digits = max(0, 1 - math.floor(math.log10(high - low)))
    return Cell(f"{line['value']:.{digits}f}", line["value"], f"{low:.{digits}f} to {high:.{digits}f}")
