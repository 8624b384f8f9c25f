"""Claim 2: the baseline's L0 grows with the inputs' mean norm, and NSAE's does not."""

from __future__ import annotations

import numpy as np
import pytest

from analyze.compare.claims.l0_and_norm import claims
from tests.analyze.compare.claims.made_up import (
    BASELINES,
    HOOKS,
    NSAES,
    RUNS,
    held_out,
    made_up,
    measured,
    run,
    verdicts,
    with_hooks,
)


def test_claim_2_tells_a_slope_from_none() -> None:
    found = made_up()
    assert verdicts(claims, found, "the baseline's L0 grows") == ["holds"]
    assert verdicts(claims, found, "NSAE's L0 has no relation") == ["holds"]
    assert verdicts(claims, found, "the baseline's slope is above") == ["holds"]
    flat = made_up(held_out=held_out(slope=0.0))
    assert verdicts(claims, flat, "the baseline's L0 grows") == ["does not hold"]
    slope = next(c for c in claims(found) if "the baseline's L0 grows" in c.claim).value
    assert slope == pytest.approx(0.6, abs=0.01)


def test_claim_2_needs_ten_layers_in_each_run() -> None:
    few = [with_hooks(r, HOOKS[:6]) for r in NSAES]
    found = made_up(runs=[*BASELINES, *few])
    assert verdicts(claims, found, "NSAE's L0 has no relation") == ["not enough data"]
    assert verdicts(claims, found, "the baseline's L0 grows") == ["holds"]
    mixed = made_up(runs=[*BASELINES, few[0], NSAES[1]])
    assert verdicts(claims, mixed, "NSAE's L0 rises over depth") == ["not enough data"]


def test_claim_2_shows_the_slope_of_fewer_than_ten_layers_without_a_verdict() -> None:
    few = [with_hooks(r, HOOKS[:6]) for r in RUNS]
    found = made_up(runs=few)
    slopes = [c for c in claims(found) if c.number == 2]
    assert {c.verdict for c in slopes} == {"not enough data"}
    assert all(c.value is not None for c in slopes)


@pytest.mark.parametrize(("shape", "verdict"), [([0, 1, 2, 2, 1, 0], "holds"), ([0, 1, 2, 3, 4, 5], "does not hold")])
def test_claim_2_tells_a_rise_and_fall_from_a_rise(shape: list[int], verdict: str) -> None:
    values = np.exp(np.repeat(shape, 2).astype(float))
    found = made_up(held_out={**held_out(), **measured(NSAES, "l0", lambda r, i: float(values[i]), 0.0)})
    assert verdicts(claims, found, "rises over depth, then falls") == [verdict]


def test_claim_2_includes_a_baseline_with_norm_scaled_l1() -> None:
    control = run("c", "baseline", 1.0, l1_power=1)
    flat = measured([control], "l0", lambda r, i: 20.0 * (1 + 0.02 * (-1) ** i), 0.0)
    found = made_up(runs=[*RUNS, control], held_out={**held_out(), **flat})
    assert verdicts(claims, found, "shows no relation either") == ["holds"]
