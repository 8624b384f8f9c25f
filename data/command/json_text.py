"""What is printed and written as JSON for other programs to read."""

from __future__ import annotations

import json
import math
from typing import Any


def json_text(value: Any, *, indent: int | None = 2) -> str:
    """JSON of plain values; it has neither NaN nor infinity, so that these become null."""
    return json.dumps(_known(value), indent=indent, allow_nan=False)


def _known(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _known(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_known(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
