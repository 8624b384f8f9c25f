"""Settings as earlier versions recorded them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Settings that earlier versions recorded in steps, and the names that they have in rows.
IN_STEPS = {"threshold_start": "threshold_after", "p_start_step": "anneal_after"}


def in_rows(settings: Mapping[str, Any], batch_size: int) -> dict[str, Any]:
    """Return recorded settings, with those in rows that earlier versions recorded in steps."""
    steps = {new: settings[old] for old, new in IN_STEPS.items() if old in settings}
    rows = {name: n * batch_size if isinstance(n, int) else n for name, n in steps.items()}
    return {**{name: value for name, value in settings.items() if name not in IN_STEPS}, **rows}
