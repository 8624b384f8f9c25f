"""Claim 4: the reconstruction score is the same at the same L0, and steadier during training."""

from __future__ import annotations

import numpy as np
import pytest

from analyze.compare.claims.score import claims
from analyze.statistics.estimates import Estimate, Estimates, Key
from tests.analyze.compare.claims.made_up import HOOKS, NSAES, RUNS, N, l0_of, made_up, measured, verdicts


def patched(gap: float, width: float = 1e-4, zero: float = 1.0) -> Estimates:
    """Return measures of RUNS with the language model: `gap` is NSAE's score less the baseline's."""
    return {
        **measured(RUNS, "l0", lambda r, i: l0_of(r, i, slope=0.0), 0.0),
        **measured(RUNS, "score", lambda r, i: 0.9 + (gap if r.variant == "nsae" else 0.0), width),
        **measured(RUNS, "nats_lost_zero", lambda r, i: zero, 1e-4),
    }  # fmt: skip


@pytest.mark.parametrize(("gap", "verdict"), [(0.0, "holds"), (-0.02, "does not hold"), (0.02, "does not hold")])
def test_claim_4_holds_only_if_scores_are_equal_at_the_same_l0(gap: float, verdict: str) -> None:
    measurements = made_up(patched=patched(gap))
    assert verdicts(claims, measurements, "score is no different") == [verdict]
    assert verdicts(claims, measurements, "score is no different", HOOKS[5]) == [verdict]


def test_claim_4_has_no_verdict_without_overlap_and_flags_unneeded_layers() -> None:
    apart = {**patched(0.0), **measured(NSAES, "l0", lambda r, i: 1000.0 / r.l1, 0.0)}
    whole = next(c for c in claims(made_up(patched=apart)) if "score is no different" in c.claim)
    assert whole.verdict == "not enough data"
    assert whole.note == "layers 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11: no overlap in L0"
    idle = [c for c in claims(made_up(patched=patched(0.0, zero=0.0))) if "score is no" in c.claim and c.hook != "all"]
    assert all("a score says little" in c.note for c in idle)
    assert len(idle) == N


def test_claim_4_without_patching_gives_not_enough_data() -> None:
    (claim,) = (c for c in claims(made_up()) if "score is no different" in c.claim)
    assert (claim.verdict, claim.note) == ("not enough data", "not measured: it needs the language model")


def test_claim_4_does_not_hold_where_differences_cancel_over_layers() -> None:
    gaps = (0.02, 0.0, -0.02)
    cancelling = {
        **patched(0.0), **measured(NSAES, "score", lambda r, i: 0.9 + gaps[i % 3], 1e-4),
    }  # fmt: skip
    overall = next(claim for claim in claims(made_up(patched=cancelling)) if "score is no different" in claim.claim)
    assert overall.value == pytest.approx(0.0, abs=1e-9)
    assert overall.verdict == "does not hold"


def test_claim_4_compares_how_steady_the_scores_are() -> None:
    shares = np.full(40, 1 / 40)

    def over(size: dict[str, float]) -> dict[Key, list[tuple[int, Estimate]]]:
        return {
            Key(r.name, hook, False, "all", "score"): [
                (i, Estimate(v := 0.9 + size[r.variant] * (-1) ** i, np.full(40, v), shares)) for i in range(8)
            ] for r in RUNS for hook in HOOKS
        }  # fmt: skip

    steadier = made_up(over_training=over({"baseline": 0.1, "nsae": 0.01}))
    assert verdicts(claims, steadier, "steadier") == ["holds"]
    assert next(c for c in claims(steadier) if "steadier" in c.claim).value == pytest.approx(0.09)
    assert verdicts(claims, made_up(over_training=over({"baseline": 0.01, "nsae": 0.1})), "steadier") == [
        "does not hold"
    ]
    assert verdicts(claims, made_up(), "steadier") == ["not enough data"]
