"""The jackknife's standard error and degrees of freedom, against matrices and formulas computed another way."""

from __future__ import annotations

import numpy as np
import pytest

from analyze.statistics import jackknife

SIZES = np.array([3.0, 10.0, 1.0, 25.0, 7.0, 7.0])


def test_the_standard_error_of_a_mean_is_the_textbook_one() -> None:
    values = np.array([1.0, 4.0, 2.0, 8.0, 5.0])
    means = jackknife.without_each(values) / 4
    assert jackknife.standard_error(means) == pytest.approx(values.std(ddof=1) / np.sqrt(5), rel=1e-12)


def test_the_degrees_of_freedom_are_those_of_the_covariance_of_the_values_without_each_group() -> None:
    h = SIZES / SIZES.sum()
    without = np.diag(h / (1 - h)) @ (np.eye(len(h)) - np.outer(np.ones(len(h)), h))
    covariance = without @ without.T
    expected = np.trace(covariance) ** 2 / np.trace(covariance @ covariance)
    assert jackknife.degrees_of_freedom(h) == pytest.approx(expected, rel=1e-12)
    assert 1 < expected < len(h) - 1


@pytest.mark.parametrize("n_groups", [2, 5, 40])
def test_equal_groups_have_one_degree_of_freedom_fewer_than_groups(n_groups: int) -> None:
    shares = np.full(n_groups, 1 / n_groups)
    assert jackknife.degrees_of_freedom(shares) == pytest.approx(n_groups - 1, rel=1e-9)
    assert jackknife.effective_groups(shares) == pytest.approx(n_groups, rel=1e-12)


def test_groups_without_rows_change_neither_the_degrees_of_freedom_nor_the_effective_count() -> None:
    h = SIZES / SIZES.sum()
    padded = np.concatenate([h, [0.0, 0.0]])
    assert jackknife.degrees_of_freedom(padded) == pytest.approx(jackknife.degrees_of_freedom(h), rel=1e-12)
    assert jackknife.effective_groups(padded) == pytest.approx(jackknife.effective_groups(h), rel=1e-12)


def test_one_group_decides_nothing() -> None:
    one = np.array([1.0])
    assert np.isnan(jackknife.standard_error(one))
    assert jackknife.degrees_of_freedom(one) == 0
    assert jackknife.critical_value(0) == np.inf
