"""Tables as CSV and Markdown, and numbers and layers as readers see them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from data.hooks import layer_of

Row = dict[str, Any]


def as_csv(rows: Sequence[Row]) -> str:
    """Return CSV with a header; all rows have the keys of the first.

    A cell is empty if its value is None or not finite. The parts of a list are separated by spaces.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _in_csv(value) for key, value in row.items()} for row in rows)
    return text.getvalue()


def _in_csv(value: Any) -> Any:
    if isinstance(value, list):
        return " ".join(str(_in_csv(part)) for part in value)
    return "" if value is None or (isinstance(value, float) and not math.isfinite(value)) else value


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


def trained_on(line: Mapping[str, Any], suffix: str = "") -> str:
    """Return how far the run of a line was trained, from its columns `trained` and `planned`; "–" without them."""
    return how_far(line.get(f"trained{suffix}"), line.get(f"planned{suffix}"))


def with_interval(line: Mapping[str, Any]) -> str:
    """Return the value and interval of a line as "0.71 [0.70, 0.72]", to two digits of the interval's width."""
    value, low, high = (line[key] for key in ("value", "low", "high"))
    if any(v is None or math.isnan(v) for v in (value, low, high)):
        return short(value)
    width = high - low
    digits = max(0, 1 - math.floor(math.log10(width))) if width > 0 else 3
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
