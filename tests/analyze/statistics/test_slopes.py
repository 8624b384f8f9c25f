"""Slopes over layers with correlated residuals: against another library's fits, and a simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analyze.statistics.slopes import CORRELATIONS, slope

X = np.array([0.3, 0.9, 1.0, 1.7, 2.2, 2.1, 3.0, 3.3])
Y = np.array([1.0, 1.1, 0.7, 1.9, 2.4, 2.5, 2.2, 3.1])


def test_without_correlation_the_fit_is_ordinary_least_squares() -> None:
    fit, expected = slope(X, Y), stats.linregress(X, Y)
    assert fit.value == pytest.approx(expected.slope)
    assert fit.standard_errors[0] == pytest.approx(expected.stderr)


@pytest.mark.parametrize("index", [20, 49])
def test_with_a_correlation_the_fit_is_least_squares_of_whitened_points(index: int) -> None:
    rho, fit = CORRELATIONS[index], slope(X, Y)
    scale = np.sqrt(np.r_[1.0, np.full(7, 1 - rho**2)])  # Prais and Winsten's transformation

    def whitened(z: np.ndarray) -> np.ndarray:
        return np.r_[z[0], z[1:] - rho * z[:-1]] / scale

    design = np.stack([whitened(np.ones(8)), whitened(X)], axis=1)
    (_, expected), residual, *_ = np.linalg.lstsq(design, whitened(Y))
    error = np.sqrt(residual[0] / 6 * np.linalg.inv(design.T @ design)[1, 1])
    assert fit.values[index] == pytest.approx(expected)
    assert fit.standard_errors[index] == pytest.approx(error)


def test_layers_between_points_weaken_the_correlation() -> None:
    far = slope(X, Y, np.arange(0.0, 8000.0, 1000.0))
    assert far.values == pytest.approx(far.value)


def test_the_interval_covers_every_correlations_interval() -> None:
    fit = slope(X, Y)
    low, high = fit.interval()
    half = stats.t.ppf(0.975, 6) * fit.standard_errors
    assert low == pytest.approx((fit.values - half).min())
    assert high == pytest.approx((fit.values + half).max())


def test_two_points_or_one_x_have_no_interval() -> None:
    assert np.isnan(slope(X[:2], Y[:2]).interval()).all()
    assert np.isnan(slope(np.ones(8), Y).interval()).all()


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_intervals_over_12_layers_cover_the_slope_whatever_the_correlation(correlation: float) -> None:
    rng, n, repeats = np.random.default_rng(0), 12, 500
    root = np.linalg.cholesky(correlation ** np.abs(np.subtract.outer(np.arange(n), np.arange(n))))
    x = np.sort(rng.normal(size=(repeats, n)), axis=1)  # a norm that grows with depth
    covered = [
        low <= 0 <= high
        for low, high in (slope(row, root @ rng.normal(size=n)).interval() for row in x)
    ]  # fmt: skip
    assert np.mean(covered) >= 0.93
