"""Names and numbers as the enumerations of a sentence."""

from __future__ import annotations

from collections.abc import Sequence

MOST_NAMES = 5


def join_numbers(values: Sequence[float]) -> str:
    """Return numbers as text: `8, 16 and 32`."""
    return joined([f"{value:g}" for value in values])


def join_names(names: Sequence[str]) -> str:
    """Return names as text, at most MOST_NAMES of them, and how many more there are."""
    more = len(names) - MOST_NAMES
    return joined([*names[:MOST_NAMES], *([f"{more} more"] if more > 0 else [])])


def joined(parts: Sequence[str]) -> str:
    """Return parts of a sentence with commas, and `and` before the last; empty without parts."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def between(low: str, high: str) -> str:
    """Return "1 to 2", or "1" if both are the same."""
    return low if low == high else f"{low} to {high}"
