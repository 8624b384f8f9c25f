"""Claim 3: L1 is closer to L0 for NSAE.

The baseline's L1 has the unit of the activations, so the claim is decided by how much L1/L0 varies over the layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from analyze.compare.claims.claim import ALL_LAYERS, Cell, Cells, Claim, ClaimHeader
from analyze.compare.claims.numbers import between, by_position
from analyze.compare.claims.rule import decide_above
from analyze.compare.equal_l0.matched import Matched, key_of
from analyze.measure.measurements import Measurements
from analyze.runs.configurations import Configuration, all_replicas, configurations, seeds_of
from analyze.runs.families import FamilyPair
from analyze.runs.settled import unsettled
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import Estimate, Estimates, combine, ratio

MARGIN = 0.05  # of a coefficient of variation


def claims(measurements: Measurements) -> Iterator[Claim]:
    """Yield claim 3 for each pair of families, without position 0 and on it."""
    for pair in measurements.pairs():
        for positions, estimates in by_position(measurements.held_out):
            header = ClaimHeader(3, "L1/L0 varies less over layers for NSAE", pair.name, pair.runs, positions)
            statistic = "the baseline's coefficient of variation of L1/L0 over layers, less NSAE's"
            yield from decide_above(header, statistic, _gaps(measurements, estimates, pair), MARGIN)


def _gaps(measurements: Measurements, estimates: Estimates, pair: FamilyPair) -> Cells:
    """Return the baseline's variation less NSAE's, for each two configurations."""
    cells = []
    for baseline, nsae in product(configurations(pair.baseline), configurations(pair.nsae)):
        of_baseline, of_nsae = (_variations(estimates, configuration) for configuration in (baseline, nsae))
        if of_baseline is not None and of_nsae is not None:
            place = f"{nsae.name} against {baseline.name}"
            moving = unsettled(measurements.drifts, all_replicas([baseline, nsae]))
            cells.append(Cell(ALL_LAYERS, place, between(of_nsae, of_baseline), moving))
    return Cells(cells)


def _variations(estimates: Estimates, configuration: Configuration) -> Matched | None:
    variations = {seeds_of(run): l1_l0_variation(estimates, run) for run in configuration.replicas}
    known = {seeds: variation for seeds, variation in variations.items() if variation is not None}
    return Matched(known, list(configuration.replicas)) if known else None


def mean_active(estimates: Estimates, run: TrainedRun, hook: str) -> Estimate | None:
    """Return L1/L0, the mean c of active features; None if it was not measured, or no feature is active."""
    l1, l0 = (estimates.get(key_of(run, hook, measure)) for measure in ("l1", "l0"))
    return ratio(l1, l0) if l1 is not None and l0 is not None and l0.value else None


def l1_l0_variation(estimates: Estimates, run: TrainedRun) -> Estimate | None:
    """Return the coefficient of variation of L1/L0 over the run's layers; None if a layer has none."""
    ratios = [r for hook in run.hooks if (r := mean_active(estimates, run, hook)) is not None]
    if len(ratios) < max(2, len(run.hooks)):
        return None
    return combine(lambda *values: np.std(values, axis=0) / np.mean(values, axis=0), ratios)
