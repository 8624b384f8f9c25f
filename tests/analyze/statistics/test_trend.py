from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import linregress

from analyze.statistics.trend import trend


def test_trend_is_the_least_squares_slope_with_its_standard_error() -> None:
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(100, 200, 30))
    y = 5 + 0.02 * x + rng.normal(0, 0.3, 30)
    expected, fitted = linregress(x, y), trend(x.tolist(), y.tolist(), 50.0)
    assert fitted is not None
    assert fitted.change == pytest.approx(50 * expected.slope)
    assert fitted.standard_error == pytest.approx(50 * expected.stderr)
    assert fitted.mean == pytest.approx(y.mean())


def test_interval_covers_the_true_change_in_95_of_100_series() -> None:
    rng = np.random.default_rng(1)
    x = np.arange(12.0)
    intervals = [trend(x.tolist(), (3 + 0.1 * x + rng.normal(0, 0.5, 12)).tolist(), 12.0) for _ in range(2000)]
    covered = [low <= 1.2 <= high for low, high in (fitted.interval for fitted in intervals if fitted is not None)]
    assert len(covered) == 2000
    assert 0.935 < np.mean(covered) < 0.965


def test_two_points_have_no_trend() -> None:
    assert trend([0.0, 1.0], [1.0, 2.0], 1.0) is None


def test_constant_series_does_not_change() -> None:
    fitted = trend([0.0, 1.0, 2.0, 3.0], [4.0] * 4, 3.0)
    assert fitted is not None
    assert fitted.interval == (0.0, 0.0)
