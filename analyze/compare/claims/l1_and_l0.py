"""Claim 3: L1 is closer to L0 for NSAE.

The baseline's L1 has the unit of the activations, so the claim is decided by how much L1/L0 varies over the layers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analyze.compare.claims.rule import Claim, ClaimHeader, decide_above
from analyze.measure.measurements import Measurements
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import Estimate, combine, difference, mean_of, ratio
from analyze.tables import short


def claims(measurements: Measurements) -> Iterator[Claim]:
    statistic = "the baseline's coefficient of variation of L1/L0 over layers, less NSAE's"
    for pair in measurements.pairs():
        baseline, nsae = (
            mean_of([v for run in runs if (v := _l1_l0_variation(measurements, run)) is not None])
            for runs in (pair.baseline, pair.nsae)
        )
        header = ClaimHeader(3, "L1/L0 varies less over layers for NSAE", pair.name, pair.runs)
        if baseline is None or nsae is None:
            yield decide_above(header, statistic, None, 0)
        else:
            note = f"baseline {short(baseline.value)}, NSAE {short(nsae.value)}"
            yield decide_above(header, statistic, difference(baseline, nsae), 0, note=note)


def mean_active(measurements: Measurements, run: TrainedRun, hook: str) -> Estimate | None:
    """Return L1/L0, the mean c of active features; None if it was not measured, or no feature is active."""
    l1, l0 = measurements.value(run, hook, "l1"), measurements.value(run, hook, "l0")
    return ratio(l1, l0) if l1 is not None and l0 is not None and l0.value else None


def _l1_l0_variation(measurements: Measurements, run: TrainedRun) -> Estimate | None:
    """Return the coefficient of variation of L1/L0 over the run's layers; None if a layer has none."""
    ratios = [r for hook in run.hooks if (r := mean_active(measurements, run, hook)) is not None]
    if len(ratios) < max(2, len(run.hooks)):
        return None
    return combine(lambda *values: np.std(values, axis=0) / np.mean(values, axis=0), ratios)
