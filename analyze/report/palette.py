"""The colour, dashes and point of each family, the same in all charts and figures of a report.

Colours are Okabe and Ito's (2008), which colour-blind readers can tell apart, without yellow and black, which vanish on
a light or dark page. Points and dashes differ too, so a family can be told without its colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ((1, 0), (6, 3), (2, 2))  # lengths of dash and gap; solid first


@dataclass(frozen=True)
class Point:
    """A point's shape: its Matplotlib marker, and its SVG path in the square from −1 to 1."""

    marker: str
    path: str


POINTS = (
    Point("o", "M1,0A1,1,0,1,1,-1,0A1,1,0,1,1,1,0Z"),
    Point("s", "M-.9,-.9H.9V.9H-.9Z"),
    Point("^", "M0,-1L1,.85H-1Z"),
    Point("D", "M0,-1.1L1.1,0L0,1.1L-1.1,0Z"),
    Point("v", "M0,1L1,-.85H-1Z"),
    Point("P", "M-.4,-1H.4V-.4H1V.4H.4V1H-.4V.4H-1V-.4H-.4Z"),
    Point("*", "M0,-1.2L.35,-.4L1.15,-.37L.5,.15L.72,1L0,.5L-.72,1L-.5,.15L-1.15,-.37L-.35,-.4Z"),
    Point("X", "M-.5,-1L0,-.5L.5,-1L1,-.5L.5,0L1,.5L.5,1L0,.5L-.5,1L-1,.5L-.5,0L-1,-.5Z"),
    Point("<", "M-1,0L.85,-1V1Z"),
    Point(">", "M1,0L-.85,-1V1Z"),
    Point("h", "M0,-1L.87,-.5V.5L0,1L-.87,.5V-.5Z"),
)


@dataclass(frozen=True)
class FamilyStyle:
    """The colour, dashes and point of a family. dash: lengths of dash and gap in pixels."""

    colour: str
    dash: tuple[int, int]
    point: Point


def family_style(i: int) -> FamilyStyle:
    """Return the style of the i-th family of a report."""
    return FamilyStyle(
        COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)], POINTS[i % len(POINTS)]
    )  # fmt: skip


def family_styles(families: Sequence[str]) -> dict[str, FamilyStyle]:
    """Return the style of each family. families: all those of the report, in its order."""
    return {family: family_style(i) for i, family in enumerate(families)}
