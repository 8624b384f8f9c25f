"""Variances over seeds and groups: against an analysis of variance, published values, and simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from analyze.statistics.replicas import (
    ReplicaPlan,
    Variances,
    overturning_seed_spread,
    plan,
    variances,
    variances_over_layers,
)  # fmt: skip
from benchmarks.statistics.simulations import CAPPED, lengths

EQUAL = np.full(20, 1 / 20)


def without_each(table: np.ndarray) -> np.ndarray:
    """Return the means over groups [seeds, groups] without each group."""
    return (table.sum(axis=-1, keepdims=True) - table) / (table.shape[-1] - 1)


def test_the_variances_are_the_mean_squares_of_an_analysis_of_variance() -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(4, 1)) + rng.normal(size=(1, 20)) + rng.normal(size=(4, 20))
    parts = variances(table.mean(axis=1), without_each(table), EQUAL)
    seeds, groups = (table.mean(axis=axis, keepdims=True) for axis in (1, 0))
    residual = table - seeds - groups + table.mean()
    assert parts.seeds == pytest.approx(20 * np.var(seeds, ddof=1) / 80)
    assert parts.groups == pytest.approx(4 * np.var(groups, ddof=1) / 80)
    assert parts.interaction == pytest.approx(np.square(residual).sum() / (3 * 19) / 80)
    assert parts.seed_degrees == 3
    assert parts.group_degrees == pytest.approx(19)


def test_one_seed_has_the_jackknifes_half_width() -> None:
    table = np.random.default_rng(1).normal(size=(1, 20))
    expected = stats.t.ppf(0.975, 19) * table.std(ddof=1) / math.sqrt(20)
    assert variances(table.mean(axis=1), without_each(table), EQUAL).half_width() == pytest.approx(expected)


def test_exact_values_have_the_half_width_of_their_seeds() -> None:
    values = np.array([3.0, 4.0, 8.0])
    exact = variances(values, np.empty((3, 0)), np.empty(0))
    assert exact.half_width() == pytest.approx(stats.t.ppf(0.975, 2) * values.std(ddof=1) / math.sqrt(3))


@pytest.mark.parametrize(("seeds", "floor"), [(2, 9.6), (3, 3.0), (4, 2.0), (5, 1.6), (8, 1.1)])
def test_the_smallest_detectable_difference_of_a_few_seeds_is_the_published_one(seeds: int, floor: float) -> None:
    assert Variances(1 / seeds, 0, 0, seeds - 1, 0).smallest_detectable_difference() == pytest.approx(floor, abs=0.05)


def test_the_p_value_of_an_intervals_own_half_width_is_that_of_its_level() -> None:
    spread = Variances(0.4, 0.7, 0.1, 4, 23.5)
    assert spread.p_value(spread.half_width(0.95)) == pytest.approx(0.05)
    assert spread.p_value(spread.half_width(0.6)) == pytest.approx(0.4)
    assert (spread.p_value(0.0), spread.p_value(1e9)) == (1.0, 1e-12)


def test_the_p_value_beyond_a_margin_is_two_sided_at_0_and_one_sided_far_from_it() -> None:
    spread = Variances(0, 1.0, 0, 0, 30)
    assert spread.p_beyond(-2.0, 0.0) == pytest.approx(2 * stats.t.sf(2, 30))
    assert spread.p_beyond(-52.0, 50.0) == pytest.approx(stats.t.sf(2, 30), rel=1e-6)
    assert spread.p_above(-1.0, 1.0) == pytest.approx(stats.t.cdf(2, 30))
    assert spread.p_beyond(48.0, 50.0) == pytest.approx(stats.t.cdf(2, 30), rel=1e-6)


def test_the_overturning_seed_spread_makes_the_half_width_reach_the_margin() -> None:
    spread = overturning_seed_spread(-0.9, 0.2, 0.04, 30)
    t = stats.t.ppf(0.975, 30)
    assert t * math.sqrt(spread**2 + 0.04) == pytest.approx(0.7)
    assert overturning_seed_spread(0.3, 0.2, 0.04, 30) == overturning_seed_spread(0.1, 0.2, 0.0, 30) == 0


def test_a_plan_is_the_cheapest_whose_detectable_difference_is_small_enough() -> None:
    measured = Variances(1.0 / 3, 1.0 / 40, 0, 2, 39)
    best = plan(measured, 3, 40, 1.5)
    assert best == ReplicaPlan(6, 40)
    assert Variances(1 / 6, 1 / 40, 0, 5, 39).smallest_detectable_difference() <= 1.5
    assert Variances(1 / 5, 0, 0, 4, 0).smallest_detectable_difference() > 1.5
    assert plan(measured, 3, 40, 0.1) is None


def test_a_plan_for_one_seed_asks_for_groups_alone() -> None:
    one_seed = Variances(0.0, 1.0 / 40, 0, 0, 39)
    best = plan(one_seed, 1, 40, 0.2)
    assert best is not None
    assert best.seeds == 1
    assert best.groups == pytest.approx(7.85 / 0.2**2, rel=0.03)


def coverage(n_seeds: int, seed_sd: float, *, repeats: int = 600) -> float:
    """Return how often the interval covers the true mean, 0: crossed effects over 40 groups of uneven sizes."""
    rng = np.random.default_rng(n_seeds)
    covered = 0
    for _ in range(repeats):
        sizes = np.minimum(rng.lognormal(5, 0.9, 40), 512)
        shares = sizes / sizes.sum()
        table = seed_sd * rng.normal(size=(n_seeds, 1)) + rng.normal(size=40) + 0.5 * rng.normal(size=(n_seeds, 40))
        values = table @ shares
        replicates = (values[:, None] - table * shares) / (1 - shares)
        covered += abs(values.mean()) <= variances(values, replicates, shares).half_width()
    return covered / repeats


@pytest.mark.parametrize("n_seeds", [2, 3, 5])
def test_intervals_over_seeds_and_groups_cover_at_least_as_often_as_they_say(n_seeds: int) -> None:
    assert coverage(n_seeds, 0.3) >= 0.93  # 0.95, less two standard errors of 600 repeats


@pytest.mark.parametrize("longest", [CAPPED, None])
@pytest.mark.parametrize("n_documents", [12, 24])
def test_intervals_of_one_seed_cover_with_few_documents_of_uneven_lengths(
    n_documents: int, longest: int | None
) -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(600):
        tokens = lengths(rng, (n_documents,), longest)
        shares, differences = tokens / tokens.sum(), rng.normal(size=n_documents)
        value = differences @ shares
        without = (value - differences * shares) / (1 - shares)
        covered += abs(value) <= variances(np.array([value]), without[None], shares).half_width()
    assert covered / 600 >= 0.93  # groups − 1 degrees of freedom cover less often in three of the cases


@pytest.mark.parametrize("largest", [1, 5])
def test_interval_of_the_mean_over_layers_covers_it_also_where_one_layer_varies_most(largest: int) -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(2000):
        values = np.array([largest, 1, 1, 1, 1, 1])[:, None] * rng.normal(size=(6, 3))
        parts = variances_over_layers(values, np.empty((6, 3, 0)), np.empty(0))
        covered += abs(values.mean()) <= parts.half_width()
    assert covered / 2000 >= 0.92  # 12 degrees of freedom cover 0.90 where one layer varies most


def test_degrees_of_freedom_of_the_mean_over_layers_are_satterthwaites() -> None:
    values = np.array([[0.0, 2.0], [0.0, 4.0], [1.0, 1.0]])  # variances over the seeds: 2, 8, 0
    parts = variances_over_layers(values, np.empty((3, 2, 0)), np.empty(0))
    assert parts.seed_degrees == pytest.approx((2 + 8) ** 2 / (2**2 + 8**2))
    assert parts.seeds == pytest.approx((2 + 8) / 3**2 / 2)
    alike = variances_over_layers(np.array([[0.0, 1.0], [5.0, 6.0]]) * 1e-100, np.empty((2, 2, 0)), np.empty(0))
    assert alike.seed_degrees == pytest.approx(2)


def test_the_smallest_detectable_difference_is_detected_four_times_in_five() -> None:
    rng = np.random.default_rng(3)
    true = Variances(0.3**2 / 5, (1 + 0.25 / 5) / 40, 0.25 / 200, 4, 39).smallest_detectable_difference()
    detected = 0
    for _ in range(600):
        table = true + 0.3 * rng.normal(size=(5, 1)) + rng.normal(size=40) + 0.5 * rng.normal(size=(5, 40))
        spread = variances(table.mean(axis=1), without_each(table), np.full(40, 1 / 40))
        detected += abs(table.mean()) > spread.half_width()
    assert 0.75 <= detected / 600 <= 0.95
