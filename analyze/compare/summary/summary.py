"""A summary of what was compared: sentences, and a table with a line per architecture and L0."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

BEST, TIED, NO_MARK = "best", "tied", ""
NOT_RANKED = ", not ranked"  # ends the notes of lines that are compared but not ranked
RANDOM_DECODER_NOTE = f"control{NOT_RANKED}"
MISSED = "misses this L0 in all layers, not compared"


@dataclass(frozen=True)
class SummaryCell:
    """A measure's mean over the layers of a line, with its 95 % interval over seeds and documents.

    value, low, high: None if it is unknown. `dead` is an exact count, whose interval is over seeds only.
    mark: "best", "tied" with the best, or "" if it is decided to be worse or is not ranked.
    """

    value: float | None
    low: float | None
    high: float | None
    mark: str = NO_MARK


@dataclass(frozen=True)
class SummaryLine:
    """An architecture at one L0.

    target: the L0 at which families are compared; None for runs that are compared at none.
    l0: measured L0, mean over the layers.
    seeds: the number of seeds, that of the layer with fewest.
    layers: the number of layers that means are over.
    cells: by measure.
    rows_counted: rows in which dead features were counted; None if they were not.
    note: why the line is not ranked, or which layers decide nothing; empty if all is well.
    """

    family: str
    target: float | None
    l0: float
    seeds: int
    layers: int
    cells: dict[str, SummaryCell]
    rows_counted: int | None = None
    note: str = ""


@dataclass(frozen=True)
class SummaryRow:
    """One cell of the summary, with its line, as a row of the table `summary`. rows: see `rows_counted` of the line."""

    family: str
    target: float | None
    l0: float
    seeds: int
    layers: int
    measure: str
    cell: SummaryCell
    rows: int | None
    note: str


@dataclass(frozen=True)
class Summary:
    """The answer that the comparisons give.

    sentences: the answer in words.
    l0_values: values of L0 that families are compared at, ascending.
    measures: the columns of the table, by the names of train/measures.py.
    """

    sentences: list[str] = field(default_factory=list)
    l0_values: list[float] = field(default_factory=list)
    measures: list[str] = field(default_factory=list)
    lines: list[SummaryLine] = field(default_factory=list)

    def rows(self) -> list[SummaryRow]:
        """Return a row per line and measure."""
        return [
            SummaryRow(
                line.family, line.target, line.l0, line.seeds, line.layers, measure, cell,
                line.rows_counted if measure == "dead" else None, line.note,
            )
            for line in self.lines
            for measure, cell in line.cells.items()
        ]  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return the keys of JSON answers."""
        return {"sentences": self.sentences, "l0_values": self.l0_values, "lines": self.rows()}
