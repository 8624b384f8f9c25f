"""The rules that decide the post's claims, on made-up data for which the verdict is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtrit
from scipy.stats import linregress

from analyze.compare.claims.rule import ClaimHeader, above, decide_above, decide_equivalent, equivalent
from analyze.statistics.estimates import Estimate, difference, mean_of
from analyze.statistics.regression import FEWEST_POINTS, fit_log_log

HEADER = ClaimHeader(1, "a claim", "two families", [])


GROUPS = 100


def spread(value: float, half_width: float, groups: int = GROUPS) -> Estimate:
    """Return an estimate over groups of equal size whose 95 % interval is value ± half_width."""
    deviations = np.resize([1.0, -1.0], groups - groups % 2)
    deviations = np.append(deviations, np.zeros(groups % 2))
    shares = np.full(groups, 1 / groups)
    size = half_width / (stdtrit(groups - 1, 0.975) * np.sqrt((groups - 1) / groups * np.square(deviations).sum()))
    return Estimate(value, value + size * deviations, shares)


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
    assert (
        decide_above(HEADER, "s", Estimate(1.0, np.array([1.0, np.nan]), np.full(2, 0.5)), 0.02).verdict
        == "not enough data"
    )


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
    shock, shares = np.random.default_rng(0).normal(size=500), np.full(500, 1 / 500)
    a, b = Estimate(3.0, 3 + shock, shares), Estimate(1.0, 1 + shock, shares)
    assert difference(a, b).interval == pytest.approx((2, 2))
    together = mean_of([a, Estimate(1.0, 1 - shock, shares)])
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
    few = spread(0.5, 0.1, groups=7)
    assert decide_above(HEADER, "s", spread(0.5, 0.1, groups=8), 0.02).verdict == "holds"
    claim = decide_above(HEADER, "s", difference(few, Estimate(0.0)), 0.02)
    assert claim.verdict == "not enough data"
    assert claim.note == "too few documents or layers for a verdict: effectively 7.0"
    assert (claim.low, claim.value, claim.high) == pytest.approx((0.4, 0.5, 0.6))


def test_interval_over_one_long_and_many_short_documents_decides_nothing() -> None:
    shares = np.append(0.9, np.full(100, 0.001))
    uneven = Estimate(0.5, np.linspace(0.499, 0.501, 101), shares)
    assert decide_above(HEADER, "s", uneven, 0.02).verdict == "not enough data"
