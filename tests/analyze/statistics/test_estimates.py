"""Estimates and functions of them, against NumPy and the jackknife's formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import stdtrit

from analyze.statistics.estimates import Estimate, combine, difference, mean_of, ratio

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
