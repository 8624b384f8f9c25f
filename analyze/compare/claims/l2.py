"""Claim 5: NSAE's L2 is slightly higher, and converges more slowly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from analyze.compare.claims.claim import Cells, Claim, ClaimHeader
from analyze.compare.claims.numbers import at_equal_l0, by_position, differences_of_means, exact_numbers
from analyze.compare.claims.rule import decide_above
from analyze.compare.equal_l0.matched import Seeds, key_of
from analyze.measure.measurements import Measurements
from analyze.runs.configurations import seeds_of
from analyze.runs.families import FamilyPair
from analyze.runs.trained_run import TrainedRun
from analyze.runs.training_curves import rows_to_near_end
from analyze.statistics.estimates import Estimate, Estimates, combine

SLOWER = 0.1  # margin of the log of a ratio of rows


def claims(measurements: Measurements) -> Iterator[Claim]:
    """Yield claim 5 for each pair of families."""
    for pair in measurements.pairs():
        for positions, estimates in by_position(measurements.held_out):
            header = ClaimHeader(5, "NSAE's L2 is higher at the same L0", pair.name, pair.runs, positions)
            numbers = at_equal_l0(measurements, estimates, pair, "l2", as_ratio=True)
            yield from decide_above(header, "L2 over the baseline's at equal L0, less 1", numbers, 0)
        for positions, estimates in by_position(measurements.held_out):
            header = ClaimHeader(5, "NSAE ends with the higher L2, whatever the L0", pair.name, pair.runs, positions)
            yield from decide_above(
                header, "last L2 over the baseline's, less 1 (geometric means over runs)",
                _ratios_at_the_end(measurements, estimates, pair), 0, note="depends on the α that were run",
            )  # fmt: skip
        yield from _slower(measurements, pair)


def _ratios_at_the_end(measurements: Measurements, estimates: Estimates, pair: FamilyPair) -> Cells:
    def log_l2(run: TrainedRun, hook: str) -> Estimate | None:
        l2 = estimates.get(key_of(run, hook, "l2"))
        return None if l2 is None else combine(np.log, [l2])

    return differences_of_means(measurements, pair, log_l2, as_ratio=True)


def _slower(measurements: Measurements, pair: FamilyPair) -> Iterator[Claim]:
    """Decide that NSAE needs more rows until its L2 stays within 10 % of its last value."""
    rows_needed = {
        (curve.run, curve.hook): rows_to_near_end(curve)
        for curve in measurements.training
        if curve.split == "heldout" and curve.measure == "l2" and not curve.noise
    }
    log_ratios: dict[str, dict[Seeds, float]] = {}
    for hook in measurements.hooks:
        rows_of = {run: rows for (run, at), rows in rows_needed.items() if at == hook}
        baseline, nsae = (_mean_log_rows(runs, rows_of) for runs in (pair.baseline, pair.nsae))
        log_ratios[hook] = {seeds: nsae[seeds] - baseline[seeds] for seeds in baseline if seeds in nsae}
    yield from decide_above(
        ClaimHeader(5, "NSAE's L2 converges more slowly", pair.name, pair.runs),
        "log of the rows until L2 stays within 10 % of its last value, over the baseline's",
        exact_numbers(measurements, "", log_ratios, pair.runs), SLOWER,
    )  # fmt: skip


def _mean_log_rows(runs: Sequence[TrainedRun], rows_of: Mapping[str, int | None]) -> dict[Seeds, float]:
    """Return the mean log of the runs' rows, by their seeds."""
    logs: dict[Seeds, list[float]] = {}
    for run in runs:
        if rows := rows_of.get(run.name):
            logs.setdefault(seeds_of(run), []).append(float(np.log(rows)))
    return {seeds: float(np.mean(of_seeds)) for seeds, of_seeds in logs.items()}
