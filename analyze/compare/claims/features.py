"""Claim 7: which features NSAE learns. All statistics are exact counts of decoder directions.

A note has the same count of the control whose decoder is random and not trained, if there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analyze.compare.claims.rule import Claim, ClaimHeader, decide_above, decide_equivalent, join_notes
from analyze.measure.measurements import Measurements
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import Estimate, difference, mean_of
from analyze.tables import short

MAJORITY = 0.5
OVERLAP = 0.05  # largest share of pillars that counts as "hardly any"


def claims(measurements: Measurements) -> Iterator[Claim]:
    for family, runs in measurements.of_kind("nsae").items():
        yield decide_above(
            ClaimHeader(7, "most of NSAE's live features have norms in (0, 0.5)", family, runs),
            "their share, an exact count, mean over layers",
            _mean_share(measurements, runs, "small_norm_share"), MAJORITY,
            note=_of_control(measurements, "small_norm_share"),
        )  # fmt: skip
        yield decide_equivalent(
            ClaimHeader(7, "pillars are hardly ever directions", family, runs),
            "share of pillars that are directions, mean over layers with directions",
            _mean_share(measurements, runs, "pillars_that_are_directions"), OVERLAP,
            note=_of_control(measurements, "pillars_that_are_directions"),
        )  # fmt: skip
    statistic = "share of live features with another at cosine above 0.9, difference, exact"
    for pair in measurements.pairs():
        claim = "NSAE has features nearly parallel to another, which the baseline lacks"
        header = ClaimHeader(7, claim, pair.name, pair.runs)
        baseline, nsae = (
            _mean_share(measurements, runs, "near_twin_share") for runs in (pair.baseline, pair.nsae)
        )  # fmt: skip
        if baseline is None or nsae is None:
            yield decide_above(header, statistic, None, 0)
        else:
            values = f"NSAE {short(nsae.value)}, baseline {short(baseline.value)}"
            note = join_notes(values, _of_control(measurements, "near_twin_share"))
            yield decide_above(header, statistic, difference(nsae, baseline), 0, note=note)


def of_dictionary(measurements: Measurements, run: TrainedRun, hook: str, name: str) -> float | None:
    """Return a summary statistic of an SAE's dictionary; None if it is undefined or was not measured."""
    lines = (dictionary.line for dictionary in measurements.dictionaries)
    return next((line[name] for line in lines if (line["run"], line["hook"]) == (run.name, hook)), None)


def _of_control(measurements: Measurements, name: str) -> str:
    """Return a share in the control's dictionaries, for a note; "" without a control."""
    runs = [run for of_family in measurements.of_kind("frozen").values() for run in of_family]
    share = _mean_share(measurements, runs, name)
    return "" if share is None else f"control with a random decoder {short(share.value)}"


def _mean_share(measurements: Measurements, runs: Sequence[TrainedRun], name: str) -> Estimate | None:
    shares = [of_dictionary(measurements, run, hook, name) for run in runs for hook in run.hooks]
    return mean_of([Estimate(share) for share in shares if share is not None])
