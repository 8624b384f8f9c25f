"""Quantities that the post's derivation makes assumptions on, measured on real SAEs, without a verdict.

‖c‖₁ / ‖x̂‖₂    assumed to be about 1; what is derived is ‖x̂‖₂ ≈ ‖c‖₂, which can be smaller by a factor of up to √L0
cos(x, x̂)       1 − cos(x, x̂) is assumed to be about the same in all layers
cosines          the baseline's features are assumed to be almost orthogonal: cosines within ±0.2 (footnote 2)
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from analyze.measure.measurements import Measurements
from analyze.statistics.estimates import Key
from data.store.stats import Subset
from train.measures import title_of

CHECKED_MEASURES = ("l1_over_norm", "cosine")
NEARLY_ORTHOGONAL = "share of live pairs of features at cosines within ±0.2"


@dataclass(frozen=True)
class TheoryRow:
    """A quantity of a run at a hook, noise off. low, high: its 95 % interval if it is a mean over rows, else `value`.

    step: the quantity, in words.
    """

    run: str
    hook: str
    step: str
    value: float
    low: float
    high: float


def theory_rows(measurements: Measurements) -> list[TheoryRow]:
    """Return one row per run, hook and quantity."""
    rows: list[TheoryRow] = []
    for run, measure in product(measurements.runs, CHECKED_MEASURES):
        for hook in run.hooks:
            estimate = measurements.held_out.get(Key(run.name, hook, False, Subset.ALL, measure))
            if estimate is not None:
                rows.append(TheoryRow(run.name, hook, title_of(measure), estimate.value, *estimate.interval))
    for row in (dictionary.row for dictionary in measurements.dictionaries):
        share = row.pairs_within_02
        rows.append(TheoryRow(row.run, row.hook, NEARLY_ORTHOGONAL, share, share, share))
    return rows
