"""Claim 1: the baseline's reconstructions are too short; NSAE's are less so, at the same L0."""

from __future__ import annotations

from collections.abc import Iterator

from analyze.compare.claims.claim import Claim, ClaimHeader
from analyze.compare.claims.numbers import at_equal_l0, by_position
from analyze.compare.claims.rule import decide_above
from analyze.measure.measurements import Measurements

MARGIN = 0.02
SYMBOLS = {"suppression": "Σ‖x̂‖/Σ‖x‖", "gamma": "γ"}


def claims(measurements: Measurements) -> Iterator[Claim]:
    """Yield claim 1 for each pair of families, without position 0 and on it."""
    for pair in measurements.pairs():
        for positions, estimates in by_position(measurements.held_out):
            for measure, symbol in SYMBOLS.items():
                header = ClaimHeader(1, f"{symbol} of NSAE is above the baseline's", pair.name, pair.runs, positions)
                numbers = at_equal_l0(measurements, estimates, pair, measure)
                yield from decide_above(header, f"difference of {symbol} at equal L0", numbers, MARGIN)
