"""Why a claim of the post is not tested with some runs: which runs it compares are missing."""

from __future__ import annotations

from collections.abc import Sequence

from analyze.compare.claims.claim import Claim
from analyze.measure.measurements import Measurements

N_CLAIMS = 7
NO_NSAE = "no run is an NSAE with noise"


def untested(measurements: Measurements, claims: Sequence[Claim]) -> dict[str, list[int]]:
    """Return the numbers of the post's claims that have no row in the table `claims`, by reason, in their order."""
    tested = {claim.number for claim in claims}
    reasons: dict[str, list[int]] = {}
    for number in range(1, N_CLAIMS + 1):
        if number not in tested:
            reasons.setdefault(_reason(measurements, number), []).append(number)
    return reasons


def _reason(measurements: Measurements, number: int) -> str:
    if number == 2:
        return "no baseline or NSAE was trained with an α of its own, rather than for a target L0"
    if number in (6, 7):
        return "no run is an NSAE"
    if not measurements.of_kind("nsae"):
        return NO_NSAE
    if measurements.of_kind("norm-scaled baseline"):
        return (
            "every baseline's inputs or α are scaled by layer, and the claim is about one with the same α in all layers"
        )
    return "no run is a baseline"
