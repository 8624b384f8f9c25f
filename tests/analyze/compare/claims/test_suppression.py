"""Claim 1: the suppression of NSAE is above the baseline's."""

from __future__ import annotations

import pytest

from analyze.compare.claims.suppression import claims
from analyze.statistics.estimates import Estimates
from tests.analyze.compare.claims.made_up import HOOKS, NSAES, held_out, made_up, measured, verdicts


@pytest.mark.parametrize(
    ("gain", "verdict"), [(0.05, "holds"), (-0.05, "does not hold"), (0.02, "not enough data")]
)  # fmt: skip
def test_claim_1_is_decided_at_equal_l0(gain: float, verdict: str) -> None:
    measurements = made_up(held_out=held_out(slope=0.0, suppression=gain))
    for hook in ("all", HOOKS[3]):
        assert verdicts(claims, measurements, "Σ‖x̂‖/Σ‖x‖ of NSAE", hook) == [verdict]
        assert verdicts(claims, measurements, "γ of NSAE", hook) == [verdict]
    layer = next(claim for claim in claims(measurements) if claim.hook == HOOKS[0])
    assert layer.note.endswith("at L0 10.2, L0 18.4, L0 32.6")
    assert layer.value == pytest.approx(gain)


def test_claim_1_leaves_out_layers_without_a_shared_l0() -> None:
    apart = measured(NSAES, "l0", lambda r, i: 1000.0 if i else 10.2, 0.0)
    rows = list(claims(made_up(held_out=held_out(slope=0.0) | apart)))
    assert {row.hook for row in rows} == {"all", HOOKS[0]}
    overall = next(row for row in rows if row.hook == "all")
    assert overall.verdict == "not enough data"
    assert overall.note.endswith("layers 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11: no overlap in L0")


def test_position_0_decides_separately() -> None:
    estimates: Estimates = {}
    for positions, gain in (("without 0", 0.05), ("0", -0.05)):
        estimates |= {
            key._replace(subset=positions): value for key, value in held_out(slope=0.0, suppression=gain).items()
        }
    rows = [claim for claim in claims(made_up(held_out=estimates)) if claim.hook == "all" and "γ" in claim.claim]
    assert {row.positions: row.verdict for row in rows} == {"without 0": "holds", "0": "does not hold"}
