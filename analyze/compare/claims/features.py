"""Claim 7: which features NSAE learns. All statistics are exact counts of decoder directions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analyze.compare.claims.rule import Claim, ClaimHeader, decide_above, decide_equivalent
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
        )  # fmt: skip
        yield decide_equivalent(
            ClaimHeader(7, "pillars are hardly ever directions", family, runs),
            "share of pillars that are directions, mean over layers with directions",
            _mean_share(measurements, runs, "pillars_that_are_directions"), OVERLAP,
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
            note = f"NSAE {short(nsae.value)}, baseline {short(baseline.value)}"
            yield decide_above(header, statistic, difference(nsae, baseline), 0, note=note)


def of_dictionary(measurements: Measurements, run: TrainedRun, hook: str, name: str) -> float | None:
    """Return a summary statistic of an SAE's dictionary; None if it is undefined or was not measured."""
    lines = (dictionary.line for dictionary in measurements.dictionaries)
    return next((line[name] for line in lines if (line["run"], line["hook"]) == (run.name, hook)), None)


def _mean_share(measurements: Measurements, runs: Sequence[TrainedRun], name: str) -> Estimate | None:
    shares = [of_dictionary(measurements, run, hook, name) for run in runs for hook in run.hooks]
    return mean_of([Estimate(share) for share in shares if share is not None])
