"""Claim 5: NSAE's L2 is higher, and converges more slowly."""

from __future__ import annotations

import pytest

from analyze.compare.claims.l2 import claims
from analyze.runs.trained_run import TrainedRun
from analyze.runs.training_curves import TrainingCurve
from tests.analyze.compare.claims.made_up import BASELINES, HOOKS, NSAES, RUNS, held_out, made_up, measured, verdicts


@pytest.mark.parametrize(("l2", "verdict"), [(1.1, "holds"), (0.9, "does not hold")])
def test_claim_5_compares_l2_at_the_same_l0(l2: float, verdict: str) -> None:
    measurements = made_up(held_out=held_out(slope=0.0, l2=l2))
    assert verdicts(claims, measurements, "NSAE's L2 is higher") == [verdict]
    assert next(c for c in claims(measurements) if "L2 is higher" in c.claim).value == pytest.approx(l2 - 1)


@pytest.mark.parametrize(("l2", "verdict"), [(1.1, "holds"), (0.9, "does not hold")])
def test_claim_5_compares_the_last_l2_without_a_shared_l0(l2: float, verdict: str) -> None:
    apart = {**held_out(l2=l2), **measured(NSAES, "l0", lambda r, i: 1000.0 / r.l1, 0.0)}
    assert verdicts(claims, made_up(held_out=apart), "ends with the higher L2") == [verdict]
    assert verdicts(claims, made_up(held_out=apart), "NSAE's L2 is higher") == ["not enough data"]


def test_claim_5_is_not_decided_by_one_large_layer() -> None:
    common = measured(BASELINES, "l2", lambda r, i: 1.0, 0.0)
    one_large = common | measured(NSAES, "l2", lambda r, i: 100.0 if i == 3 else 0.5, 0.0)
    rows = [c for c in claims(made_up(held_out=held_out(slope=0.0) | one_large)) if c.hook == "all"]
    for claim in (row for row in rows if "converges" not in row.claim):
        assert claim.verdict == "does not hold"
        assert "-0.5 to 99 over the layers; holds in 1 of 12 layers, does not hold in 11" in claim.note


@pytest.mark.parametrize(("rows", "verdict"), [(80, "holds"), (5, "does not hold")])
def test_claim_5_compares_when_l2_comes_near_its_end(rows: int, verdict: str) -> None:
    def curve(r: TrainedRun, hook: str) -> TrainingCurve:
        near = rows if r.variant == "nsae" else 20
        steps = [2, 5, 20, 80, 100]
        return TrainingCurve(r.name, hook, "heldout", False, "l2", steps, [1.0 if n >= near else 2.0 for n in steps])

    measurements = made_up(training=[curve(r, hook) for r in RUNS for hook in HOOKS])
    assert verdicts(claims, measurements, "converges more slowly") == [verdict]
