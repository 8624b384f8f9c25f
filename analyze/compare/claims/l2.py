"""Claim 5: NSAE's L2 is slightly higher, and converges more slowly.

L2 is compared as a ratio; its mean over layers is geometric.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from analyze.compare.claims.rule import Claim, ClaimHeader, count_by_layer, decide_above, join_notes
from analyze.compare.pareto import compare_at_matched_l0, note_without_overlap
from analyze.measure.measurements import Measurements
from analyze.runs.families import FamilyPair
from analyze.runs.trained_run import TrainedRun
from analyze.runs.training_curves import rows_to_near_end
from analyze.statistics.estimates import Estimate, excess, log_ratio, mean_of, over_points
from analyze.statistics.jackknife import Float


def claims(measurements: Measurements) -> Iterator[Claim]:
    for pair in measurements.pairs():
        at_equal_l0 = compare_at_matched_l0(measurements.held_out, measurements.hooks, pair, "l2", log_ratio)
        yield from _higher(
            pair, "NSAE's L2 is higher at the same L0", "L2 over the baseline's at equal L0, less 1", at_equal_l0,
            note_without_overlap(measurements.hooks, at_equal_l0),
        )  # fmt: skip
        yield from _higher(
            pair, "NSAE ends with the higher L2, whatever the L0", "last L2 over the baseline's, less 1",
            _log_ratio_at_the_end(measurements, pair), "depends on the α that were run",
        )  # fmt: skip
        yield _slower(measurements, pair)


def _higher(
    pair: FamilyPair, claim: str, statistic: str, log_ratios: Mapping[str, Estimate], note: str
) -> Iterator[Claim]:
    """Decide that a ratio, given as its logarithm per hook, is above 1: in the geometric mean, and per layer."""
    mean = mean_of(list(log_ratios.values()))
    per_layer = [
        decide_above(ClaimHeader(5, claim, pair.name, pair.runs, hook), statistic, excess(log), 0)
        for hook, log in log_ratios.items()
    ]
    yield decide_above(
        ClaimHeader(5, claim, pair.name, pair.runs), f"geometric mean over layers of {statistic}",
        None if mean is None else excess(mean), 0, note=join_notes(count_by_layer(per_layer), note),
    )  # fmt: skip
    yield from per_layer


def _log_ratio_at_the_end(measurements: Measurements, pair: FamilyPair) -> dict[str, Estimate]:
    """Return log(NSAE's mean L2 / the baseline's) per hook that both families have."""
    ratios = {}
    for hook in measurements.hooks:
        nsae, baseline = (_mean_l2(measurements, hook, runs) for runs in (pair.nsae, pair.baseline))
        if nsae is not None and baseline is not None:
            ratios[hook] = log_ratio(nsae, baseline)
    return ratios


def _mean_l2(measurements: Measurements, hook: str, runs: Sequence[TrainedRun]) -> Estimate | None:
    return mean_of([l2 for run in runs if (l2 := measurements.value(run, hook, "l2")) is not None])


def _slower(measurements: Measurements, pair: FamilyPair) -> Claim:
    """Decide that NSAE needs more rows until its L2 stays within 10 % of its last value."""
    rows_needed = {
        (curve.run, curve.hook): rows_to_near_end(curve)
        for curve in measurements.training
        if curve.split == "heldout" and curve.measure == "l2" and not curve.noise
    }
    log_ratios = []
    for hook in measurements.hooks:
        baseline, nsae = (
            [rows for run in runs if (rows := rows_needed.get((run.name, hook))) is not None]
            for runs in (pair.baseline, pair.nsae)
        )
        if baseline and nsae:
            log_ratios.append(float(np.mean(np.log(nsae)) - np.mean(np.log(baseline))))
    return decide_above(
        ClaimHeader(5, "NSAE's L2 converges more slowly", pair.name, pair.runs),
        "log of the rows until L2 stays within 10 % of its last value, over the baseline's; interval over layers",
        _mean_over_layers(np.array(log_ratios)), 0,
    )  # fmt: skip


def _mean_over_layers(values: Float) -> Estimate | None:
    return over_points(lambda layers: float(np.mean(values[layers])), len(values)) if len(values) > 1 else None
