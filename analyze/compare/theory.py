"""Quantities that the post's derivation makes assumptions on, measured on real SAEs, without a verdict.

‖c‖₁ / ‖x̂‖₂    assumed to be about 1; what is derived is ‖x̂‖₂ ≈ ‖c‖₂, which can be smaller by a factor of up to √L0
cos(x, x̂)       1 − cos(x, x̂) is assumed to be about the same in all layers
cosines          the baseline's features are assumed to be almost orthogonal: cosines within ±0.2 (footnote 2)
"""

from __future__ import annotations

from itertools import product

from analyze.measure.measurements import Measurements
from analyze.statistics.estimates import Key
from analyze.tables import Row
from data.store.stats import Subset
from train.measures import title_of

CHECKED_MEASURES = ("l1_over_norm", "cosine")
NEARLY_ORTHOGONAL = "share of live pairs of features at cosines within ±0.2"


def theory_lines(measurements: Measurements) -> list[Row]:
    """Return one line per run, hook and quantity, noise off; with an interval if it is a mean over rows."""
    lines: list[Row] = []
    for run, measure in product(measurements.runs, CHECKED_MEASURES):
        for hook in run.hooks:
            estimate = measurements.held_out.get(Key(run.name, hook, False, Subset.ALL, measure))
            if estimate is not None:
                low, high = estimate.interval
                about = {"run": run.name, "hook": hook, "step": title_of(measure)}
                lines.append({**about, "value": estimate.value, "low": low, "high": high})
    for dictionary in measurements.dictionaries:
        share = dictionary.line["pairs_within_0.2"]
        about = {"run": dictionary.line["run"], "hook": dictionary.line["hook"], "step": NEARLY_ORTHOGONAL}
        lines.append({**about, "value": share, "low": share, "high": share})
    return lines
