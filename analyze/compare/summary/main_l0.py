"""The L0 that a summary is first about."""

from __future__ import annotations

from collections.abc import Mapping


def main_l0(counts: Mapping[float, int]) -> float:
    """Return the L0 at which most is compared; of several such L0, the middle one.

    counts: by L0, how much is compared there; not empty.
    """
    most = max(counts.values())
    widest = sorted(l0 for l0, count in counts.items() if count == most)
    return widest[len(widest) // 2]
