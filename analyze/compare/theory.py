"""The steps of the post's theory that can be checked on real SAEs: values, without a verdict.

‖c‖₁ ≈ ‖x̂‖₂ is claimed; what is derived is ‖x̂‖₂ ≈ ‖c‖₂, which can be smaller by up to √L0.
1 − cos(x, x̂) is taken to be about the same in all layers.
The baseline's features are taken to be almost orthogonal: cosines within ±0.2 (footnote 2).
"""

from __future__ import annotations

from itertools import product

from analyze.measure.measurements import Measurements
from analyze.statistics.estimates import Key
from analyze.tables import Row
from data.store.stats import Subset
from train.measures import title_of

STEPS = ("l1_over_norm", "cosine")
NEARLY_ORTHOGONAL = "share of live pairs of features at cosines within ±0.2"


def theory_lines(measurements: Measurements) -> list[Row]:
    """One line for each run, hook and step, noise off, with intervals where it is a mean over rows."""
    lines: list[Row] = []
    for run, measure in product(measurements.runs, STEPS):
        for hook in run.hooks:
            found = measurements.held_out.get(Key(run.name, hook, False, Subset.ALL, measure))
            if found is not None:
                low, high = found.interval
                about = {"run": run.name, "hook": hook, "step": title_of(measure)}
                lines.append({**about, "value": found.value, "low": low, "high": high})
    for portrait in measurements.dictionaries:
        share = portrait.line["pairs_within_0.2"]
        about = {"run": portrait.line["run"], "hook": portrait.line["hook"], "step": NEARLY_ORTHOGONAL}
        lines.append({**about, "value": share, "low": share, "high": share})
    return lines
