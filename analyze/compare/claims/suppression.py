"""Claim 1: the baseline's reconstructions are too short; NSAE's are less so.

Two runs are compared where they explain nearly the same share of the variance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from analyze.compare.claims.rule import Claim, ClaimHeader, count_by_layer, decide_above, join_notes
from analyze.measure.measurements import Measurements
from analyze.runs.families import FamilyPair
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import Estimate, difference, mean_of
from analyze.tables import layer_list, short

MARGIN = 0.02
MAX_GAP = 0.05  # largest difference in explained variance of two runs that are compared
SYMBOLS = {"suppression": "Σ‖x̂‖/Σ‖x‖", "gamma": "γ"}


def claims(measurements: Measurements) -> Iterator[Claim]:
    for pair in measurements.pairs():
        matches = {hook: _closest(measurements, hook, pair) for hook in measurements.hooks}
        for measure, symbol in SYMBOLS.items():
            yield from _above_the_baseline(measurements, pair, matches, measure, symbol)


@dataclass(frozen=True)
class Match:
    """A baseline and an NSAE run, with the explained variance and L0 of each."""

    baseline: TrainedRun
    nsae: TrainedRun
    explained: tuple[float, float]
    l0: tuple[float, float]


def _closest(measurements: Measurements, hook: str, pair: FamilyPair) -> Match | None:
    """Return the two runs whose explained variances at a hook are closest; None if all differ by over MAX_GAP."""
    matches = []
    for baseline, nsae in product(pair.baseline, pair.nsae):
        explained, l0 = (
            [measurements.value(run, hook, measure) for run in (baseline, nsae)]
            for measure in ("explained_variance", "l0")
        )
        if explained[0] and explained[1] and l0[0] and l0[1]:
            match = Match(baseline, nsae, (explained[0].value, explained[1].value), (l0[0].value, l0[1].value))
            if abs(match.explained[0] - match.explained[1]) <= MAX_GAP:
                matches.append(match)
    return min(matches, key=lambda match: abs(match.explained[0] - match.explained[1]), default=None)


def _above_the_baseline(
    measurements: Measurements, pair: FamilyPair, matches: dict[str, Match | None], measure: str, symbol: str
) -> Iterator[Claim]:
    """Decide that NSAE's measure is above the baseline's: in the mean over layers, and per layer."""
    claim = f"{symbol} of NSAE is above the baseline's"
    statistic = f"difference of {symbol}, at the closest explained variance"
    differences: dict[str, Estimate] = {}
    per_layer = []
    for hook, match in matches.items():
        if match is None:
            continue
        baseline, nsae = (measurements.value(run, hook, measure) for run in (match.baseline, match.nsae))
        if baseline is not None and nsae is not None:
            differences[hook] = difference(nsae, baseline)
            note = (
                f"{short(nsae.value)} of {match.nsae.name}, {short(baseline.value)} of {match.baseline.name}, which "
                f"explain {match.explained[1]:.3f} and {match.explained[0]:.3f} at L0 {short(match.l0[1])} and "
                f"{short(match.l0[0])}"
            )
            header = ClaimHeader(1, claim, pair.name, pair.runs, hook)
            per_layer.append(decide_above(header, statistic, differences[hook], MARGIN, note=note))
    missing = [hook for hook in matches if hook not in differences]
    unmatched = f"no runs within {MAX_GAP} of explained variance: {layer_list(missing)}" if missing else ""
    yield decide_above(
        ClaimHeader(1, claim, pair.name, pair.runs), f"mean over layers of the {statistic}",
        mean_of(list(differences.values())), MARGIN, note=join_notes(count_by_layer(per_layer), unmatched),
    )  # fmt: skip
    yield from per_layer
