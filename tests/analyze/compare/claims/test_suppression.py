"""Claim 1: the suppression of NSAE is above the baseline's."""

from __future__ import annotations

import pytest

from analyze.compare.claims.suppression import claims
from tests.analyze.compare.claims.made_up import HOOKS, RUNS, held_out, made_up, measured, verdicts


@pytest.mark.parametrize(
    ("gain", "verdict"), [(0.05, "holds"), (-0.05, "does not hold"), (0.02, "not enough data")]
)  # fmt: skip
def test_claim_1_is_decided_at_the_closest_explained_variance(gain: float, verdict: str) -> None:
    found = made_up(held_out=held_out(suppression=gain))
    for hook in ("all", HOOKS[3]):
        assert verdicts(claims, found, "Σ‖x̂‖/Σ‖x‖ of NSAE", hook) == [verdict]
        assert verdicts(claims, found, "γ of NSAE", hook) == [verdict]
    one = next(c for c in claims(found) if c.hook == HOOKS[0])
    assert "of n" in one.note
    assert "which explain 0.500 and 0.500 at L0" in one.note
    whole = next(c for c in claims(found) if c.hook == "all" and c.number == 1)
    assert whole.note.startswith(
        {"holds": "by layer: holds in 12", "does not hold": "by layer: does not in 12"}.get(
            verdict, "by layer: undecided in 12"
        )
    )


def test_claim_1_leaves_out_layers_without_runs_of_similar_explained_variance() -> None:
    apart = measured(RUNS, "explained_variance", lambda r, i: 0.9 if i and r.variant == "nsae" else 0.5, 1e-4)
    found = list(claims(made_up(held_out=held_out() | apart)))
    assert {c.hook for c in found if c.number == 1} == {"all", HOOKS[0]}
    assert {c.note for c in found if c.number == 1 and c.hook == "all"} == {
        "by layer: holds in 1; no runs within 0.05 of explained variance: layers 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11"
    }
