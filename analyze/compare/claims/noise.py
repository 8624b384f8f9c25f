"""Claim 6: without noise NSAE's loss is gamed by small features with large decoder norms; more noise makes L1 more like
L0. Runs are compared with runs that differ only in σ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations, product

import numpy as np

from analyze.compare.claims.claim import Cell, Cells, Claim, ClaimHeader
from analyze.compare.claims.features import of_dictionary
from analyze.compare.claims.l1_and_l0 import mean_active
from analyze.compare.claims.numbers import between, by_position, exact_numbers, joined
from analyze.compare.claims.rule import decide_above
from analyze.compare.equal_l0.matched import Matched, Seeds
from analyze.measure.measurements import Measurements
from analyze.runs.configurations import seeds_of
from analyze.runs.settled import unsettled
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import Estimate, Estimates

RunPair = tuple[TrainedRun, TrainedRun]  # the one with the smaller σ first
NORM_MARGIN = 0.1  # of the log of a ratio of decoder norms


def claims(measurements: Measurements) -> Iterator[Claim]:
    """Yield claim 6 for pairs of runs that differ only in σ; none without an NSAE."""
    with_noise, noiseless = (_runs(measurements, kind) for kind in ("nsae", "noiseless"))
    if not with_noise and not noiseless:
        return
    pairs = [pair for pair in product(noiseless, with_noise) if _differ_only_in_sigma(*pair)]
    claim = "without noise, active features become small and decoder norms large"
    compared, note = "nsae, σ = 0 and σ > 0 at the same α", "no run with --sigma 0 beside one with noise at the same α"
    yield from _mean_active_grows(measurements, claim, compared, pairs, note, "mean active c, with noise less without")
    yield from decide_above(
        ClaimHeader(6, claim, compared, _all_runs(pairs)),
        "log of the median decoder norm, without noise over with, an exact number",
        _log_ratios_of_norms(measurements, pairs), NORM_MARGIN, note="" if pairs else note,
    )  # fmt: skip
    louder = [
        (less, more)
        for less, more in (sorted(pair, key=_sigma) for pair in combinations(with_noise, 2))
        if _sigma(less) < _sigma(more) and _differ_only_in_sigma(less, more)
    ]
    yield from _mean_active_grows(
        measurements, "larger σ makes L1 more like L0", "nsae, different σ at the same α", louder,
        "no two runs with different --sigma at the same α", "L1/L0, of the larger σ less the smaller",
    )  # fmt: skip


def _mean_active_grows(
    measurements: Measurements, claim: str, compared: str, pairs: Sequence[RunPair], without: str, statistic: str
) -> Iterator[Claim]:
    for positions, estimates in by_position(measurements.held_out):
        header = ClaimHeader(6, claim, compared, _all_runs(pairs), positions)
        numbers = _gains_of_mean_active(measurements, estimates, pairs)
        yield from decide_above(header, statistic, numbers, 0, note="" if pairs else without)


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
    first_experiment, second_experiment = first.settings.experiment, second.settings.experiment
    same_data = first_experiment.data_seed == second_experiment.data_seed
    return same_run and same_data and first_experiment.schedule == second_experiment.schedule


def _by_place(pairs: Sequence[RunPair]) -> dict[str, dict[Seeds, RunPair]]:
    """Return the pairs of each α and two σ, by replica."""
    places: dict[str, dict[Seeds, RunPair]] = {}
    for less, more in pairs:
        place = f"α {less.l1:g}, σ {_sigma(less):g} and {_sigma(more):g}"
        places.setdefault(place, {})[seeds_of(less)] = less, more
    return places


def _gains_of_mean_active(measurements: Measurements, estimates: Estimates, pairs: Sequence[RunPair]) -> Cells:
    """Return by how much L1/L0 is larger with the larger σ, per hook and place."""
    cells = []
    for place, replicas in _by_place(pairs).items():
        for hook in measurements.hooks:
            less, more = dict[Seeds, Estimate](), dict[Seeds, Estimate]()
            for seeds, pair in replicas.items():
                numbers = [mean_active(estimates, run, hook) for run in pair]
                if numbers[0] is not None and numbers[1] is not None:
                    less[seeds], more[seeds] = numbers[0], numbers[1]
            if less:
                runs = _all_runs(list(replicas.values()))
                moving = unsettled(measurements.drifts, runs, hook)
                cells.append(Cell(hook, place, between(Matched(less, runs), Matched(more, runs)), moving))
    hooks = [hook for hook in measurements.hooks if any(hook in run.hooks for run in _all_runs(pairs))]
    return Cells(cells, hooks)


def _log_ratios_of_norms(measurements: Measurements, pairs: Sequence[RunPair]) -> Cells:
    """Return log(median norm with the smaller σ / with the larger one)."""
    numbers = []
    for place, replicas in _by_place(pairs).items():
        ratios: dict[str, dict[Seeds, float]] = {}
        for hook in measurements.hooks:
            for seeds, pair in replicas.items():
                less, more = (of_dictionary(measurements, run, hook, lambda row: row.norm_median) for run in pair)
                if less and more:
                    ratios.setdefault(hook, {})[seeds] = float(np.log(less / more))
        numbers.append(exact_numbers(measurements, place, ratios, _all_runs(list(replicas.values()))))
    return joined(numbers)
