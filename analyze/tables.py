"""Lines of one shape as CSV, and figures as people read them.

Not here: what is in the lines.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from data.hooks import layer_of

Row = dict[str, Any]


def as_csv(rows: Sequence[Row]) -> str:
    """CSV with a header, of rows that all have the first one's keys."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def layer(hook: str) -> str:
    """How a hook is called beside others of its kind: by its block's number."""
    number = layer_of(hook)
    return hook if number is None else str(number)


def short(value: float | None) -> str:
    """Three digits; – for what is not known."""
    return "–" if value is None or math.isnan(value) else f"{value:.3g}"


def with_interval(line: Mapping[str, Any]) -> str:
    """The value of a line with its interval: 0.71 [0.70, 0.72], to the digits in which the interval's ends differ."""
    value, low, high = (line[key] for key in ("value", "low", "high"))
    if any(v is None or math.isnan(v) for v in (value, low, high)):
        return short(value)
    width = high - low
    digits = max(0, 1 - math.floor(math.log10(width))) if width > 0 else 3
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
