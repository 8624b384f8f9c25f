"""A claim: what it states, the numbers that decide it, and its verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from analyze.compare.claims.evidence import Evidence
from analyze.runs.trained_run import TrainedRun
from data.store.stats import Subset

UNFINISHED: Literal["no verdict: unfinished runs"] = "no verdict: unfinished runs"
UNSETTLED: Literal["no verdict: unsettled runs"] = "no verdict: unsettled runs"
Verdict = Literal[
    "holds", "does not hold", "not enough data", "no verdict: unfinished runs", "no verdict: unsettled runs"
]
COUNTED_AS: dict[Verdict, str] = {
    "holds": "holds in", "does not hold": "does not hold in", "not enough data": "undecided in",
    UNFINISHED: "no verdict in", UNSETTLED: "unsettled in",
}  # fmt: skip

ALL_LAYERS = "all"
DECIDED: tuple[Verdict, ...] = ("holds", "does not hold")


@dataclass(frozen=True)
class ClaimHeader:
    """The statement of a claim, and what it compares, before it is decided.

    number: the claim's number in the post.
    claim: the statement, in a sentence.
    compared: names of the families that are compared.
    runs: all runs that the statistic uses.
    positions: the subset of positions that it is measured on.
    """

    number: int
    claim: str
    compared: str
    runs: Sequence[TrainedRun]
    positions: str = Subset.ALL


@dataclass(frozen=True)
class Cell:
    """The number of one layer at one place.

    hook: the layer, or ALL_LAYERS for a number of all layers.
    place: what the number is taken at, such as "L0 20".
    unsettled: names the runs of the layer that have not settled; empty if there are none.
    """

    hook: str
    place: str
    evidence: Evidence
    unsettled: str = ""


@dataclass(frozen=True)
class Cells:
    """The numbers of a claim. hooks: all layers that it is about. missing: by hook, why a number could not be taken."""

    cells: Sequence[Cell]
    hooks: Sequence[str] = (ALL_LAYERS,)
    missing: Mapping[str, str] = field(default_factory=dict)

    def by_hook(self) -> dict[str, list[Cell]]:
        """Return the cells of each hook that has any."""
        of_hook = {hook: [cell for cell in self.cells if cell.hook == hook] for hook in self.hooks}
        return {hook: cells for hook, cells in of_hook.items() if cells}


@dataclass(frozen=True)
class Claim:
    """A claim, what it compares, the statistic that decides it, and the verdict: a row of the table `claims`.

    low, high: the 95 % interval in one layer, over its places; None over several layers.
    p: the p-value of "holds", corrected for the number of layers.
    detectable: the smallest detectable difference in one layer.
    seeds: the number of seeds.
    """

    number: int
    claim: str
    compared: str = field(metadata={"column": "of"})
    hook: str
    positions: str
    statistic: str
    criterion: str = field(metadata={"column": "margin"})  # which values of the statistic fulfil the claim
    value: float | None
    low: float | None
    high: float | None
    p: float | None
    detectable: float | None
    seeds: int
    verdict: Verdict
    note: str = ""


def join_notes(*notes: str) -> str:
    """Join the notes that are not empty."""
    return "; ".join(filter(None, notes))


def count_by_layer(claims: Sequence[Claim]) -> str:
    """Return in how many layers a claim holds, does not hold and is undecided: "holds in 1 of 6 layers, …"."""
    counts = Counter(claim.verdict for claim in claims)
    parts = [(words, counts[verdict]) for verdict, words in COUNTED_AS.items() if counts[verdict]]
    if not parts:
        return ""
    (words, count), *others = parts
    of_layers = f"{count} of {len(claims)} layers" if len(claims) > 1 else "the only layer"
    return ", ".join([f"{words} {of_layers}", *(f"{other} {number}" for other, number in others)])
