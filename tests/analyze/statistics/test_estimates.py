"""Estimates and functions of them, against NumPy and the jackknife's formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import stdtrit

from analyze.statistics.estimates import Estimate, combine, difference, mean_of, over_replicas, ratio

SHARES = np.full(20, 1 / 20)


def mean_estimate(values: np.ndarray) -> Estimate:
    """Return the mean of values of equal weight."""
    return Estimate(float(values.mean()), (values.sum() - values) / (len(values) - 1), SHARES)


def test_interval_of_a_mean_is_students() -> None:
    values = np.random.default_rng(0).normal(size=20)
    half_width = stdtrit(19, 0.975) * values.std(ddof=1) / np.sqrt(20)
    estimate = mean_estimate(values)
    assert estimate.interval == pytest.approx((values.mean() - half_width, values.mean() + half_width))
    assert estimate.degrees_of_freedom == pytest.approx(19)
    assert estimate.effective_groups == pytest.approx(20)
    narrower = stdtrit(19, 0.95) * values.std(ddof=1) / np.sqrt(20)
    assert estimate.interval_at(0.9)[1] == pytest.approx(values.mean() + narrower)


def test_exact_value_has_no_error_and_is_paired_with_any_estimate() -> None:
    exact, estimate = Estimate(3.0), mean_estimate(np.random.default_rng(0).normal(size=20))
    assert (exact.standard_error, exact.interval) == (0.0, (3.0, 3.0))
    assert exact.decisive
    gap = difference(exact, estimate)
    assert gap.standard_error == pytest.approx(estimate.standard_error)
    assert gap.value == 3.0 - estimate.value
    both = mean_of([exact, Estimate(5.0)])
    assert both is not None
    assert (both.value, both.exact) == (4.0, True)


def test_functions_apply_to_each_replicate() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(5, 1, size=20), rng.normal(2, 0.1, size=20)
    quotient = ratio(mean_estimate(a), mean_estimate(b))
    without_7 = np.arange(20) != 7
    assert quotient.replicates[7] == pytest.approx(a[without_7].mean() / b[without_7].mean())


def test_estimates_of_other_groups_are_refused() -> None:
    other = Estimate(1.0, np.ones(20), np.arange(1, 21) / 210)
    with pytest.raises(ValueError, match="different groups"):
        difference(other, mean_estimate(np.ones(20)))


def test_bias_widens_intervals_and_moves_with_the_value() -> None:
    biased = Estimate(2.0, np.full(20, 2.0), SHARES, bias=0.1)
    assert biased.interval == pytest.approx((1.9, 2.1))
    assert difference(biased, biased).bias == pytest.approx(0.2)
    assert combine(lambda x: 3 * x, [biased]).bias == pytest.approx(0.3)


def test_unknown_replicate_leaves_the_interval_unknown() -> None:
    estimate = Estimate(1.0, np.append(np.nan, np.ones(19)), SHARES)
    assert np.isnan(estimate.interval).all()
    assert np.isnan(Estimate(1.0, np.ones(1), np.ones(1)).interval).all()


def replicas_of(values: np.ndarray) -> Estimate:
    """Return the mean over replicas of values [seeds, 20] of equal weight."""
    return over_replicas([mean_estimate(of_replica) for of_replica in values])


def test_interval_over_replicas_is_howes_for_seeds_crossed_with_groups() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=(5, 1)) + rng.normal(size=20) + 0.5 * rng.normal(size=(5, 20))
    covariance = np.cov(values) / 20  # of the seeds' means over the groups
    of_one_seed, shared = covariance.trace() / 5, (covariance.sum() - covariance.trace()) / 20
    of_seeds, of_groups = values.mean(axis=1).var(ddof=1) / 5, covariance.mean() - (of_one_seed - shared) / 5
    half_width = np.sqrt(stdtrit(4, 0.975) ** 2 * of_seeds + stdtrit(19, 0.975) ** 2 * of_groups)
    estimate = replicas_of(values)
    assert estimate.n_seeds == 5
    assert estimate.interval == pytest.approx((values.mean() - half_width, values.mean() + half_width))


def test_functions_apply_to_each_replica_and_pair_them_in_their_order() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(3, 20)), rng.normal(size=(5, 20))
    gap = difference(replicas_of(first), replicas_of(second))
    assert [one.value for one in gap.replicas] == pytest.approx(list(first.mean(axis=1) - second[:3].mean(axis=1)))
    assert gap.value == pytest.approx(first.mean() - second.mean())
    cubed = combine(lambda x: x**3, [replicas_of(first)])
    assert [one.value for one in cubed.replicas] == pytest.approx(list(first.mean(axis=1) ** 3))


def test_function_of_replicas_and_a_single_run_has_no_spread_over_seeds() -> None:
    rng = np.random.default_rng(4)
    gap = difference(replicas_of(rng.normal(size=(3, 20))), mean_estimate(rng.normal(size=20)))
    assert (gap.n_seeds, gap.variances.seeds) == (1, 0.0)


def test_exact_replicas_have_the_interval_of_their_values() -> None:
    estimate = over_replicas([Estimate(value) for value in (1.0, 2.0, 4.0)])
    half_width = stdtrit(2, 0.975) * np.std([1, 2, 4], ddof=1) / np.sqrt(3)
    assert estimate.interval == pytest.approx((7 / 3 - half_width, 7 / 3 + half_width))
