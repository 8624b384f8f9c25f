"""The rules that decide the post's claims, on made-up data for which the verdict is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import linregress

from analyze.compare.claims.rule import FEWEST_GROUPS, ClaimHeader, above, decide_above, decide_equivalent, equivalent
from analyze.statistics.estimates import Estimate, difference, mean_of
from analyze.statistics.regression import FEWEST_POINTS, fit_log_log

HEADER = ClaimHeader(1, "a claim", "two families", [])


def spread(value: float, width: float) -> Estimate:
    return Estimate(value, value + width * np.linspace(-1, 1, 1001))


@pytest.mark.parametrize(
    ("value", "width", "verdict"),
    [(0.10, 0.05, "holds"), (0.10, 0.09, "not enough data"), (-0.1, 0.05, "does not hold"),
     (0.02, 0.1, "not enough data")],
)  # fmt: skip
def test_claim_of_more_holds_only_if_its_whole_interval_is_above_the_margin(
    value: float, width: float, verdict: str
) -> None:
    assert decide_above(HEADER, "s", spread(value, width), 0.02).verdict == verdict


@pytest.mark.parametrize(
    ("value", "width", "verdict"),
    [(0.0, 0.005, "holds"), (0.0, 0.05, "not enough data"), (0.03, 0.005, "does not hold"),
     (-0.03, 0.005, "does not hold"), (0.009, 0.005, "not enough data")],
)  # fmt: skip
def test_a_claim_of_no_difference_needs_its_interval_inside_the_margin(
    value: float, width: float, verdict: str
) -> None:
    assert decide_equivalent(HEADER, "s", spread(value, width), 0.01).verdict == verdict


def test_unmeasured_statistic_gives_not_enough_data() -> None:
    assert decide_above(HEADER, "s", None, 0.02).verdict == "not enough data"
    assert decide_above(HEADER, "s", Estimate(1.0, np.array([1.0, np.nan])), 0.02).verdict == "not enough data"


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0.001, 1))
def test_every_interval_has_one_verdict_and_the_two_rules_agree_on_their_sides(
    low: float, width: float, margin: float
) -> None:
    more, none = above(low, low + width, margin), equivalent(low, low + width, margin)
    if more == "holds":
        assert none == "does not hold"
    if none == "holds":
        assert more == "does not hold"


def test_means_and_differences_keep_the_pairing() -> None:
    shock = np.random.default_rng(0).normal(size=500)
    a, b = Estimate(3.0, 3 + shock), Estimate(1.0, 1 + shock)
    assert difference(a, b).interval == pytest.approx((2, 2))
    together = mean_of([a, Estimate(1.0, 1 - shock)])
    assert together is not None
    assert together.value == 2
    assert together.interval == pytest.approx((2, 2))
    assert mean_of([]) is None


def test_slope_over_layers_is_least_squares_and_its_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(1)
    norms = np.exp(np.linspace(0, 3, 12))
    l0 = np.exp(2 + 0.8 * np.log(norms) + 0.1 * rng.normal(size=12))
    found = fit_log_log(norms, l0)
    assert found is not None
    assert found.slope.value == pytest.approx(linregress(np.log(norms), np.log(l0)).slope)
    low, high = found.slope.interval
    assert low < 0.8 < high
    assert high - low < 0.3
    assert found.p < 0.01
    assert found.rho > 0.9


def test_layers_without_a_relation_have_no_slope() -> None:
    rng = np.random.default_rng(2)
    norms = np.exp(np.linspace(0, 3, 12))
    found = fit_log_log(norms, np.exp(2 + 0.05 * rng.normal(size=12)))
    assert found is not None
    assert found.p > 0.05
    assert decide_equivalent(HEADER, "s", found.slope, 0.15).verdict == "holds"


def test_too_few_layers_or_layers_that_never_fire_have_no_slope() -> None:
    assert fit_log_log(np.arange(1.0, FEWEST_POINTS), np.arange(1.0, FEWEST_POINTS)) is None
    assert fit_log_log(np.arange(1.0, 13), np.append(np.arange(1.0, 12), 0)) is None


def test_claim_of_no_mean_difference_needs_every_part_without_difference() -> None:
    up, down, none, wide = spread(0.05, 1e-3), spread(-0.05, 1e-3), spread(0.0, 1e-3), spread(0.0, 0.1)
    for parts, verdict in (
        ([up, down], "does not hold"), ([none, none], "holds"), ([none, wide], "not enough data"),
        ([wide, up], "does not hold"),
    ):  # fmt: skip
        found = decide_equivalent(HEADER, "s", mean_of(parts), 0.01, each=parts)
        assert (found.verdict, found.criterion) == (verdict, "each within ±0.01")


def test_interval_over_few_groups_is_shown_without_a_verdict() -> None:
    few = replace(spread(0.5, 0.1), groups=FEWEST_GROUPS - 1)
    assert decide_above(HEADER, "s", replace(few, groups=FEWEST_GROUPS), 0.02).verdict == "holds"
    found = decide_above(HEADER, "s", difference(few, spread(0.0, 0.0)), 0.02)
    assert found.verdict == "not enough data"
    assert found.note == "too few documents or layers (9) for a verdict"
    assert (found.low, found.value, found.high) == pytest.approx((0.405, 0.5, 0.595))
