"""Interpolation between runs: against SciPy, on curves whose value is known, and its refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

from analyze.statistics import jackknife
from analyze.statistics.curves import (
    Scale,
    along_line,
    bracket,
    interpolate,
    interpolation_error,
    leave_one_out_error,
    near_l0,
    same_l0,
    why_refused,
)
from analyze.statistics.jackknife import Float

L0 = np.array([9.0, 17.0, 33.0, 60.0, 110.0])


def true_rest(l0: Float | float) -> Float:
    """Return 1 − explained variance of a curved, flattening family of SAEs."""
    return np.asarray(0.02 + 2.5 * np.asarray(l0) ** -0.9)


def at_scale(y: Float, at: float, scale: Scale) -> float:
    return float(interpolate(L0, y, at, scale, bracket(L0, at)))


@pytest.mark.parametrize("at", [9.0, 12.0, 33.0, 34.0, 59.9, 100.0, 110.0])
@pytest.mark.parametrize("seed", range(4))
def test_values_are_those_of_scipys_pchip(seed: int, at: float) -> None:
    y = np.random.default_rng(seed).normal(size=5)  # not monotone: slopes of 0 and limited ends occur
    expected = PchipInterpolator(np.log(L0), y)(np.log(at))
    assert at_scale(y, at, Scale.LINEAR) == pytest.approx(expected, abs=1e-12)


def test_scales_interpolate_the_logarithm_and_that_of_the_rest() -> None:
    y = 1 - true_rest(L0)
    assert at_scale(y, 40, Scale.LOG_OF_REST) == pytest.approx(
        1 - np.exp(PchipInterpolator(np.log(L0), np.log(1 - y))(np.log(40)))
    )
    assert at_scale(1 - y, 40, Scale.LOG) == pytest.approx(1 - at_scale(y, 40, Scale.LOG_OF_REST))


def test_a_power_law_is_interpolated_without_error() -> None:
    y = 1 - 0.8 * L0**-0.4
    assert at_scale(y, 45, Scale.LOG_OF_REST) == pytest.approx(1 - 0.8 * 45**-0.4, abs=1e-12)
    assert interpolation_error(L0, y, 45, Scale.LOG_OF_REST) == pytest.approx(0, abs=1e-12)
    assert leave_one_out_error(L0, y, Scale.LOG_OF_REST, 45) == pytest.approx(0, abs=1e-12)


def test_replicates_are_interpolated_each_between_its_own_points() -> None:
    rng = np.random.default_rng(0)
    l0 = L0 * rng.uniform(0.98, 1.02, (7, 5))
    y = true_rest(l0) * rng.uniform(0.98, 1.02, (7, 5))
    together = interpolate(l0, y, 40, Scale.LOG, 2)
    assert together == pytest.approx([float(interpolate(x, z, 40, Scale.LOG, 2)) for x, z in zip(l0, y, strict=True)])


def test_a_replicate_whose_end_moves_past_the_l0_is_not_clamped() -> None:
    y = true_rest(L0)
    moved = L0 * 1.01
    value = float(interpolate(moved, y, L0[0], Scale.LOG, 0))
    assert value > y[0]
    assert value == pytest.approx(float(np.exp(PchipInterpolator(np.log(moved), np.log(y))(np.log(L0[0])))))


@pytest.mark.parametrize(
    ("l0", "at", "reason"),
    [
        ([20.0, 40.0], 30.0, "needs 3 runs of different L0"),
        ([20.0, 30.0, 40.0], 19.0, "not extrapolated"),
        ([20.0, 30.0, 40.0], 41.0, "not extrapolated"),
        ([10.0, 21.0, 40.0], 15.0, "more than a factor of 2 apart"),
    ],
)
def test_curves_are_refused_with_the_reason(l0: list[float], at: float, reason: str) -> None:
    assert reason in str(why_refused(np.array(l0), at))


def test_curves_are_interpolated_up_to_their_ends() -> None:
    assert [why_refused(np.array([10.0, 20.0, 50.0]), at) for at in (10.0, 15.0)] == [None, None]
    assert why_refused(np.array([10.0, 50.0, 100.0]), 100.0) is None


def test_undefined_logarithms_and_equal_l0_give_nan() -> None:
    y = true_rest(L0)
    assert np.isnan(at_scale(np.where(L0 == 33, -0.1, y), 40, Scale.LOG))
    assert np.isnan(interpolate(np.array([9.0, 17.0, 17.0]), y[:3], 12, Scale.LOG, 0))


def test_the_same_l0_is_within_two_percent() -> None:
    assert same_l0(40.79, 40)
    assert not same_l0(40.81, 40)


def test_the_leave_one_out_error_is_that_of_the_points_around() -> None:
    y = true_rest(L0)
    without = PchipInterpolator(np.log(np.delete(L0, 2)), np.log(np.delete(y, 2)))(np.log(L0[2]))
    later = PchipInterpolator(np.log(np.delete(L0, 3)), np.log(np.delete(y, 3)))(np.log(L0[3]))
    expected = max(abs(np.exp(without) - y[2]), abs(np.exp(later) - y[3]))
    assert leave_one_out_error(L0, y, Scale.LOG, 40) == pytest.approx(expected)


def test_the_curve_is_closer_to_the_truth_than_straight_lines() -> None:
    at = np.geomspace(10, 105, 40)
    y = 1 - true_rest(L0)
    cubic = [at_scale(y, x, Scale.LOG_OF_REST) for x in at]
    assert np.abs(cubic - (1 - true_rest(at))).max() < 0.001
    assert np.abs(np.interp(np.log(at), np.log(L0), y) - (1 - true_rest(at))).max() > 0.008


@pytest.mark.parametrize("gap", [1.5, 2.0])
def test_intervals_with_the_interpolations_error_cover_the_true_value(gap: float) -> None:
    rng, covered, repeats, groups = np.random.default_rng(0), 0, 300, 40
    for _ in range(repeats):
        l0 = 40 * gap ** (rng.uniform(-1, 0) + np.arange(-1, 3.0))
        noise = rng.normal(0, 0.05, (groups, 1)) + rng.normal(0, 0.01, (groups, 4))
        y = 1 - true_rest(l0) * (1 + noise.mean(axis=0))
        replicates = 1 - true_rest(l0) * (1 + (noise.sum(axis=0) - noise) / (groups - 1))
        left = bracket(l0, 40)
        value = float(interpolate(l0, y, 40, Scale.LOG_OF_REST, left))
        without = interpolate(np.broadcast_to(l0, replicates.shape), replicates, 40, Scale.LOG_OF_REST, left)
        half = jackknife.critical_value(groups - 1) * float(jackknife.standard_error(without))
        half += interpolation_error(l0, y, 40, Scale.LOG_OF_REST)
        covered += abs(value - (1 - float(true_rest(40)))) <= half
    assert covered / repeats >= 0.93


def test_near_is_within_ten_percent() -> None:
    assert [near_l0(l0, 40) for l0 in (35.9, 36.1, 43.9, 44.1)] == [False, True, True, False]


@pytest.mark.parametrize("other", [10.0, 20.0, 80.0, 160.0])
@pytest.mark.parametrize("near", [36.5, 43.5])
def test_a_run_moved_along_a_line_is_off_by_less_than_it_moves(near: float, other: float) -> None:
    l0 = np.array(sorted((near, other)))
    moved = float(along_line(l0, 1 - true_rest(l0), 40, Scale.LOG_OF_REST))
    true = 1 - float(true_rest(40))
    assert abs(moved - true) < abs(moved - (1 - float(true_rest(near))))
    assert abs(moved - true) < abs(1 - float(true_rest(near)) - true)
