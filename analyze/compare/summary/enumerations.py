"""Names and numbers as the enumerations of a sentence."""

from __future__ import annotations

from collections.abc import Sequence

MOST_NAMES = 4


def join_numbers(values: Sequence[float]) -> str:
    """Return numbers as text: `8, 16 and 32`."""
    return joined([f"{value:g}" for value in values])


def join_names(names: Sequence[str]) -> str:
    """Return names as text, at most MOST_NAMES of them."""
    if len(names) <= MOST_NAMES:
        return joined(names)
    return joined([*names[: MOST_NAMES - 1], f"{len(names) - MOST_NAMES + 1} others"])


def joined(parts: Sequence[str]) -> str:
    """Return parts of a sentence with commas, and `and` before the last."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
