"""Claim 2: the baseline's L0 grows with the inputs' mean norm, and NSAE's does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analyze.compare.claims.l0_and_norm import claims
from analyze.runs.trained_run import TrainedRun
from tests.analyze.compare.claims.made_up import (
    BASELINES,
    HOOKS,
    MEAN_NORMS,
    NSAES,
    RUNS,
    N,
    held_out,
    made_up,
    measured,
    run,
    verdicts,
    with_hooks,
)


def test_claim_2_tells_a_slope_from_none() -> None:
    measurements = made_up()
    assert verdicts(claims, measurements, "the baseline's L0 grows") == ["holds", "not enough data"]
    assert verdicts(claims, measurements, "NSAE's L0 has no relation") == ["holds"]
    assert verdicts(claims, measurements, "the baseline's slope is above") == ["holds"]
    flat = made_up(held_out=held_out(slope=0.0))
    assert verdicts(claims, flat, "the baseline's L0 grows") == ["does not hold", "not enough data"]
    slope = next(c for c in claims(measurements) if "the baseline's L0 grows" in c.claim).value
    assert slope == pytest.approx(0.6, abs=0.01)


def test_claim_2_needs_eight_layers_in_each_run() -> None:
    few = [with_hooks(r, HOOKS[:6]) for r in NSAES]
    measurements = made_up(runs=[*BASELINES, *few])
    assert verdicts(claims, measurements, "NSAE's L0 has no relation") == ["not enough data"]
    assert verdicts(claims, measurements, "the baseline's L0 grows") == ["holds", "not enough data"]
    mixed = made_up(runs=[*BASELINES, few[0], *NSAES[1:]])
    assert verdicts(claims, mixed, "NSAE's L0 rises over depth") == ["not enough data"]


def test_claim_2_shows_the_slope_of_fewer_than_eight_layers_without_a_verdict() -> None:
    few = [with_hooks(r, HOOKS[:6]) for r in RUNS]
    measurements = made_up(runs=few)
    slopes = [c for c in claims(measurements) if c.number == 2]
    assert {c.verdict for c in slopes} == {"not enough data"}
    assert all(c.value is not None for c in slopes)


@pytest.mark.parametrize(("bend", "verdict"), [(-8.0, "holds"), (0.0, "does not hold")])
def test_claim_2_tells_a_rise_and_fall_from_a_rise(bend: float, verdict: str) -> None:
    depth = np.linspace(0, 1, N)
    values = np.exp(8 * depth + bend * depth**2 + 0.02 * (-1.0) ** np.arange(N))
    measurements = made_up(held_out={**held_out(), **measured(NSAES, "l0", lambda r, i: float(values[i]), 0.0)})
    assert verdicts(claims, measurements, "rises over depth, then falls") == [verdict]


def test_claim_2_includes_a_baseline_with_norm_scaled_l1() -> None:
    norm_scaled = run("c", "baseline", 1.0, l1_power=1)
    flat = measured([norm_scaled], "l0", lambda r, i: 20.0 * (1 + 0.02 * (-1) ** i), 0.0)
    measurements = made_up(runs=[*RUNS, norm_scaled], held_out={**held_out(), **flat})
    assert verdicts(claims, measurements, "shows no relation either") == ["holds"]


def test_claim_2_finds_that_a_slope_is_scale_alone() -> None:
    def l0(r: TrainedRun, i: int) -> float:
        return 10.0 * (MEAN_NORMS[HOOKS[i]] / r.l1) ** 0.5 * (1 + 0.002 * (-1) ** i)

    baselines = [run(f"b{i}", "baseline", l1) for i, l1 in enumerate((1.0, 5.0, 25.0, 125.0))]
    measurements = made_up(runs=baselines, held_out=measured(baselines, "l0", l0, 0.0))
    assert verdicts(claims, measurements, "L0 grows with the mean input norm") == ["holds", "does not hold"]
    rest = next(claim for claim in claims(measurements) if "beyond its scale" in claim.claim)
    assert rest.value == pytest.approx(0.0, abs=0.01)
    assert "a slope of 0.5 to 0.5 is scale alone" in rest.note


def test_slope_at_equal_scale_needs_a_range_of_alpha_as_wide_as_the_norms() -> None:
    rest = next(claim for claim in claims(made_up()) if "beyond its scale" in claim.claim)
    assert (rest.value, rest.verdict) == (None, "not enough data")


def test_claim_2_leaves_out_runs_trained_for_a_target_l0() -> None:
    def with_target(r: TrainedRun) -> TrainedRun:
        run_settings = r.settings.run
        aimed = replace(run_settings, settings=replace(run_settings.settings, **{"target_l0": 20.0}))
        return replace(r, settings=replace(r.settings, experiment=replace(r.settings.experiment, runs=(aimed,))))

    assert list(claims(made_up(runs=[with_target(r) for r in RUNS]))) == []
