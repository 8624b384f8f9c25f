"""Claim 6: without noise NSAE's loss is gamed by small features with large decoder norms; more noise makes L1 more like
L0. Runs are compared with runs that differ only in σ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations, product

import numpy as np

from analyze.compare.claims.features import of_dictionary
from analyze.compare.claims.l1_and_l0 import mean_active
from analyze.compare.claims.rule import Claim, ClaimHeader, decide_above
from analyze.measure.measurements import Measurements
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import Estimate, difference, mean_of

RunPair = tuple[TrainedRun, TrainedRun]  # the one with the smaller σ first


def claims(measurements: Measurements) -> Iterator[Claim]:
    with_noise, noiseless = (_runs(measurements, kind) for kind in ("nsae", "noiseless"))
    if not with_noise and not noiseless:
        return
    pairs = [pair for pair in product(noiseless, with_noise) if _differ_only_in_sigma(*pair)]
    header = ClaimHeader(
        6, "without noise, active features become small and decoder norms large",
        "nsae, σ = 0 and σ > 0 at the same α", _all_runs(pairs),
    )  # fmt: skip
    note = "" if pairs else "no run with --sigma 0 beside one with noise at the same α"
    for statistic, values in (
        ("mean active c, with noise less without", _gains_of_mean_active(measurements, pairs)),
        ("log of the median decoder norm, without noise over with", _log_ratios_of_norms(measurements, pairs)),
    ):
        yield decide_above(header, f"mean over layers of {statistic}", mean_of(values), 0, note=note)

    louder = [
        (less, more)
        for less, more in (sorted(pair, key=_sigma) for pair in combinations(with_noise, 2))
        if _sigma(less) < _sigma(more) and _differ_only_in_sigma(less, more)
    ]
    gains = _gains_of_mean_active(measurements, louder)
    yield decide_above(
        ClaimHeader(6, "larger σ makes L1 more like L0", "nsae, different σ at the same α", _all_runs(louder)),
        "mean over layers of L1/L0, of the larger σ less the smaller", mean_of(gains), 0,
        note="" if gains else "no two runs with different --sigma at the same α",
    )  # fmt: skip


def _runs(measurements: Measurements, kind: str) -> list[TrainedRun]:
    return [run for runs in measurements.of_kind(kind).values() for run in runs]


def _all_runs(pairs: Sequence[RunPair]) -> list[TrainedRun]:
    return [run for pair in pairs for run in pair]


def _sigma(run: TrainedRun) -> float:
    return run.settings.run.sigma


def _differ_only_in_sigma(first: TrainedRun, second: TrainedRun) -> bool:
    first_run, second_run = first.settings.run, second.settings.run
    settings = replace(first_run.settings, **({"sigma": second_run.sigma} if second_run.sigma else {}))
    same_run = replace(first_run, name=second_run.name, settings=settings) == second_run
    return same_run and first.settings.experiment.schedule == second.settings.experiment.schedule


def _gains_of_mean_active(measurements: Measurements, pairs: Sequence[RunPair]) -> list[Estimate]:
    """Return by how much L1/L0 is larger with the larger σ, per pair of runs and hook."""
    gains = []
    for pair in pairs:
        for hook in measurements.hooks:
            less, more = (mean_active(measurements, run, hook) for run in pair)
            if less is not None and more is not None:
                gains.append(difference(more, less))
    return gains


def _log_ratios_of_norms(measurements: Measurements, pairs: Sequence[RunPair]) -> list[Estimate]:
    """Return log(median norm with the smaller σ / with the larger one), per pair of runs and hook."""
    ratios = []
    for pair in pairs:
        for hook in measurements.hooks:
            less, more = (of_dictionary(measurements, run, hook, "norm_median") for run in pair)
            if less and more:
                ratios.append(Estimate(float(np.log(less / more))))
    return ratios
