"""Tables as JSON, CSV and Markdown, and numbers and layers as readers see them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import Field, fields, is_dataclass
from typing import Any, ClassVar, Protocol, TypeGuard

from data.command.json_text import json_text
from data.hooks import layer_of


class TableRow(Protocol):
    """A row of a table: a dataclass, whose fields are the table's columns."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


def columns(row: TableRow | Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a row by column, in the order of its fields.

    A column has the name of its field, or the one that the field's metadata give as `column`. A field that is a mapping
    or another row stands for the columns in it.
    """
    if isinstance(row, Mapping):
        return dict(row)
    by_name: dict[str, Any] = {}
    for field in fields(row):
        value = getattr(row, field.name)
        if _has_columns(value):
            by_name |= columns(value)
        else:
            by_name[field.metadata.get("column", field.name)] = value
    return by_name


def _has_columns(value: object) -> TypeGuard[TableRow | Mapping[str, Any]]:
    return isinstance(value, Mapping) or is_dataclass(value)


def as_csv(rows: Sequence[TableRow]) -> str:
    """Return CSV with a header; all rows have the columns of the first.

    A cell is empty if its value is None or not finite. The parts of a list are separated by spaces.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns(rows[0])) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _in_csv(value) for name, value in columns(row).items()} for row in rows)
    return text.getvalue()


def _in_csv(value: Any) -> Any:
    if isinstance(value, list):
        return " ".join(str(_in_csv(part)) for part in value)
    return "" if value is None or (isinstance(value, float) and not math.isfinite(value)) else value


def as_json(value: Any) -> str:
    """Return values as JSON text, with an object of its columns for each row in them."""
    return json_text(_in_json(value))


def _in_json(value: Any) -> Any:
    if _has_columns(value):
        return {name: _in_json(part) for name, part in columns(value).items()}
    return [_in_json(part) for part in value] if isinstance(value, list | tuple) else value


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def layers(hooks: Sequence[str]) -> list[str]:
    """Return short names of hooks: the numbers of their layers, or their full names if two have the same layer."""
    numbers = [layer_of(hook) for hook in hooks]
    known = [number for number in numbers if number is not None]
    if len(set(known)) < len(known):
        return list(hooks)
    return [hook if number is None else str(number) for hook, number in zip(hooks, numbers, strict=True)]


def layer_list(hooks: Sequence[str]) -> str:
    """Return hooks as text: `layer 2`, `layers 2, 4`."""
    return f"layer{'s' * (len(hooks) > 1)} {', '.join(layers(hooks))}"


def short(value: float | None) -> str:
    """Return a number with three digits; "–" for None and NaN."""
    return "–" if value is None or math.isnan(value) else f"{value:.3g}"


def how_far(trained: int | None, planned: int | None) -> str:
    """Return "500,000 of 500,000 rows", or "200,704 of 500,000 rows, unfinished"; "–" if a number is unknown."""
    if trained is None or planned is None:
        return "–"
    return f"{trained:,} of {planned:,} rows{', unfinished' * (trained < planned)}"


def with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """Return a value and its interval as "0.71 [0.70, 0.72]", to two digits of the interval's width."""
    if value is None or low is None or high is None or math.isnan(value + low + high):
        return short(value)
    width = high - low
    digits = max(0, 1 - math.floor(math.log10(width))) if width > 0 else 3
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
