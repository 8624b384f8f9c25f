"""Axes: what lies on them, when they are logarithmic, and which values are labelled."""

from __future__ import annotations

import math

import pytest

from analyze.report.charts.axis import fit_axis, squashed, ticks


def test_axis_is_logarithmic_if_a_large_value_would_squash_half_of_the_others() -> None:
    spread = [0.05, 0.08, 0.1, 0.15, 0.2]
    assert not fit_axis(spread).log
    assert fit_axis([*spread, 5.0]).log
    assert not fit_axis([*spread, 5.0, -0.01]).log  # a logarithm needs positive values
    assert not squashed([1 - value for value in (*spread, 5.0)])  # an outlier below


def test_axis_is_logarithmic_if_a_control_is_far_above_curves_that_differ_by_a_factor_of_three() -> None:
    curves = [0.06 * factor for factor in (1, 1.2, 1.5, 1.8, 2.2, 2.6, 3)]
    assert not fit_axis(curves).log
    assert fit_axis([*curves, 0.4, 0.5, 0.6]).log


def test_axis_contains_all_values_and_as_much_of_the_bars_as_leaves_the_values_half_of_it() -> None:
    narrow = fit_axis([1.0, 2.0], [0.9, 2.1])
    assert narrow.low < 0.9
    assert narrow.high > 2.1
    wide = fit_axis([1.0, 2.0], [-50.0, 60.0])
    assert (wide.low, wide.high) == pytest.approx((0.5 - 0.08, 2.5 + 0.08))
    assert fit_axis([3.0]).low < 3 < fit_axis([3.0]).high
    assert fit_axis([1.0, math.nan], [math.nan]).low > 0
    log = fit_axis([0.01, 0.011, 0.012, 0.013, 9.0], [-1.0, 10.0])
    assert 0 < log.low < 0.01
    assert log.high > 10


def test_axis_of_zeros_alone_has_no_room_for_negative_values() -> None:
    axis = fit_axis([0.0, 0.0])
    assert -0.1 < axis.low < 0 < axis.high
    assert axis.ticks[0] == 0
    one = fit_axis([1.0, 1.0], log=True)
    assert one.low < 0.9


def test_axis_without_values_has_a_scale() -> None:
    assert (fit_axis([]).low, fit_axis([]).high) == (0, 1)
    assert (fit_axis([], log=True).low, fit_axis([], log=True).high) == (1, 10)


@pytest.mark.parametrize(
    ("low", "high", "log", "labels"),
    [
        (19, 84, True, (20, 30, 40, 60, 80)),
        (9, 550, True, (10, 20, 50, 100, 200, 500)),
        (0.001, 30, True, (0.001, 0.01, 0.1, 1, 10)),
        (39, 41, True, (39, 39.5, 40, 40.5, 41)),
        (0.033, 0.244, False, (0.05, 0.1, 0.15, 0.2)),
        (-0.31, 0.02, False, (-0.3, -0.25, -0.2, -0.15, -0.1, -0.05, 0)),
    ],
)
def test_labels_are_round(low: float, high: float, log: bool, labels: tuple[float, ...]) -> None:
    assert ticks(low, high, log=log) == labels


def test_symlog_scale_is_the_axis() -> None:
    """Vega's formula with the axis's constant, against the positions on a linear and a logarithmic axis."""

    def position(value: float, low: float, high: float, constant: float) -> float:
        def transform(x: float) -> float:
            return math.copysign(math.log1p(abs(x / constant)), x)

        return (transform(value) - transform(low)) / (transform(high) - transform(low))

    linear, log = fit_axis([-1.0, 1.0, 3.0]), fit_axis([0.01, 0.02, 0.03, 8.0])
    for value in (-0.5, 0.0, 2.0):
        expected = (value - linear.low) / (linear.high - linear.low)
        assert position(value, linear.low, linear.high, linear.symlog_constant) == pytest.approx(expected, abs=1e-5)
    for value in (0.01, 0.5, 8.0):
        expected = math.log(value / log.low) / math.log(log.high / log.low)
        assert position(value, log.low, log.high, log.symlog_constant) == pytest.approx(expected, abs=1e-5)
