"""Claim 7: which features NSAE learns. All statistics are exact counts of decoder directions.

A note has the same count of the random-decoder control (`frozen`), if there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np

from analyze.compare.claims.claim import Cells, Claim, ClaimHeader, join_notes
from analyze.compare.claims.numbers import exact_numbers, joined
from analyze.compare.claims.rule import decide_above, decide_equivalent
from analyze.compare.equal_l0.matched import Seeds
from analyze.measure.dictionary_summary import DictionaryRow
from analyze.measure.measurements import Measurements
from analyze.runs.configurations import Configuration, configurations, seeds_of
from analyze.runs.families import FamilyPair
from analyze.runs.trained_run import TrainedRun
from analyze.tables import short

MAJORITY = 0.5
OVERLAP = 0.05  # largest share of pillars that counts as "hardly any"
NEAR_DUPLICATES = 0.01  # smallest difference of the share of features with a near-duplicate that counts

Statistic = Callable[[DictionaryRow], float | None]


def claims(measurements: Measurements) -> Iterator[Claim]:
    """Yield claim 7 for each NSAE family and pair of families."""
    for family, runs in measurements.of_kind("nsae").items():
        pillars = _shares(measurements, runs, lambda row: row.pillars_that_are_directions)
        control = _of_random_decoder(measurements, lambda row: row.pillars_that_are_directions)
        yield from decide_above(
            ClaimHeader(7, "most of NSAE's live features have norms in (0, 0.5)", family, runs),
            "their share, an exact count", _shares(measurements, runs, lambda row: row.small_norm_share), MAJORITY,
            note=_of_random_decoder(measurements, lambda row: row.small_norm_share),
        )  # fmt: skip
        yield from decide_equivalent(
            ClaimHeader(7, "pillars are hardly ever directions", family, runs),
            "share of pillars that are directions, in layers with directions, an exact count",
            pillars, OVERLAP, note=join_notes("" if pillars.cells else "no layer has directions", control),
        )  # fmt: skip
    for pair in measurements.pairs():
        claim = "NSAE has features nearly parallel to another, which the baseline lacks"
        yield from decide_above(
            ClaimHeader(7, claim, pair.name, pair.runs),
            "share of live features with another at cosine above 0.9, difference of exact counts",
            _gaps(measurements, pair, lambda row: row.near_twin_share), NEAR_DUPLICATES,
            note=_of_random_decoder(measurements, lambda row: row.near_twin_share),
        )  # fmt: skip


def of_dictionary(measurements: Measurements, run: TrainedRun, hook: str, statistic: Statistic) -> float | None:
    """Return a summary statistic of an SAE's dictionary; None if it is undefined or was not measured."""
    rows = (dictionary.row for dictionary in measurements.dictionaries)
    return next((statistic(row) for row in rows if (row.run, row.hook) == (run.name, hook)), None)


def _of_random_decoder(measurements: Measurements, statistic: Statistic) -> str:
    """Return the mean share in dictionaries of the random-decoder control, for a note; empty without it."""
    runs = [run for of_family in measurements.of_kind("frozen").values() for run in of_family]
    shares = [of_dictionary(measurements, run, hook, statistic) for run in runs for hook in run.hooks]
    known = [share for share in shares if share is not None]
    return f"control with a random decoder {short(float(np.mean(known)))}" if known else ""


def _by_hook(
    measurements: Measurements, configuration: Configuration, statistic: Statistic
) -> dict[str, dict[Seeds, float]]:
    """Return a statistic of the replicas that have it, by hook."""
    return {
        hook: {
            seeds_of(run): value for run in configuration.replicas
            if hook in run.hooks and (value := of_dictionary(measurements, run, hook, statistic)) is not None
        }
        for hook in measurements.hooks
    }  # fmt: skip


def _shares(measurements: Measurements, runs: Sequence[TrainedRun], statistic: Statistic) -> Cells:
    numbers = [
        exact_numbers(
            measurements, configuration.name, _by_hook(measurements, configuration, statistic), configuration.replicas,
        )
        for configuration in configurations(runs)
    ]  # fmt: skip
    return joined(numbers)


def _gaps(measurements: Measurements, pair: FamilyPair, statistic: Statistic) -> Cells:
    """Return NSAE's share less the baseline's, for each two configurations."""
    numbers = []
    for baseline, nsae in product(configurations(pair.baseline), configurations(pair.nsae)):
        of_baseline, of_nsae = (_by_hook(measurements, configuration, statistic) for configuration in (baseline, nsae))
        gaps = {
            hook: {
                seeds: of_nsae[hook][seeds] - share
                for seeds, share in of_baseline[hook].items() if seeds in of_nsae[hook]
            }
            for hook in measurements.hooks
        }  # fmt: skip
        place, runs = f"{nsae.name} against {baseline.name}", [*baseline.replicas, *nsae.replicas]
        numbers.append(exact_numbers(measurements, place, gaps, runs))
    return joined(numbers)
