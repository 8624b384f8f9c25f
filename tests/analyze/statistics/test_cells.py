"""Decisions over several cells: against worked examples, and the error rates that they promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analyze.statistics.cells import (
    all_equivalent,
    holm,
    most,
    partial_conjunction,
    signs,
)

RNG_SEED = 0


def test_holm_adjusts_the_textbook_example() -> None:
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1.0, 1.0])


def test_holm_leaves_unknown_cells_out() -> None:
    adjusted = holm(np.array([0.02, np.nan, 0.5]))
    assert adjusted[[0, 2]] == pytest.approx([0.04, 0.5])
    assert np.isnan(adjusted[1])


def test_cells_are_equivalent_only_if_every_interval_is_within_the_margin() -> None:
    low, high = np.array([-0.01, 0.0, -0.019]), np.array([0.01, 0.019, 0.0])
    assert all_equivalent(low, high, 0.02)
    assert not all_equivalent(low + 0.002, high + 0.002, 0.02)
    assert not all_equivalent(np.append(low, np.nan), np.append(high, np.nan), 0.02)
    assert not all_equivalent(np.empty(0), np.empty(0), 0.02)


def test_partial_conjunction_is_the_minimum_over_the_larger_p_values() -> None:
    p = np.array([0.001, 0.3, 0.004, 0.02, 0.01, 0.6])
    assert most(6) == 4
    assert partial_conjunction(p, 4) == pytest.approx(min(3 * 0.02, 3 / 2 * 0.3, 1.0))
    assert partial_conjunction(p, 1) == pytest.approx(6 * 0.001)
    assert partial_conjunction(p, 6) == pytest.approx(0.6)
    assert partial_conjunction(np.array([0.001, np.nan]), 2) == partial_conjunction(p, 7) == 1.0


def test_signs_are_those_of_significant_differences() -> None:
    assert signs(np.array([0.3, -0.2, 0.4]), np.array([0.01, 0.05, np.nan])).tolist() == [1, -1, 0]


def p_values(true: np.ndarray, margin: float, *, repeats: int, correlation: float) -> np.ndarray:
    """Return one-sided p-values [repeats, cells] of means > margin, of 20 groups whose values are correlated."""
    rng = np.random.default_rng(RNG_SEED)
    shared = rng.normal(size=(repeats, 20, 1))
    errors = rng.normal(size=(repeats, 20, len(true)))
    values = true + np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * errors
    error = values.std(axis=1, ddof=1) / np.sqrt(20)
    return stats.t.sf((values.mean(axis=1) - margin) / error, 19)


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_holm_finds_a_difference_anywhere_in_at_most_5_percent_when_all_are_at_the_margin(correlation: float) -> None:
    p = p_values(np.full(12, 1.0), 1.0, repeats=2000, correlation=correlation)
    wrong = np.mean([(holm(row) <= 0.05).any() for row in p])
    assert wrong <= 0.062  # 5 % and 2.5 standard errors of 2000 repeats
    assert (p <= 0.05).any(axis=1).mean() > 0.15  # uncorrected


def test_better_in_most_layers_is_wrong_in_at_most_5_percent_when_half_of_them_are() -> None:
    true = np.array([3.0] * 6 + [0.0] * 6)
    p = p_values(true, 0.0, repeats=2000, correlation=0.3)
    assert np.mean([partial_conjunction(row, most(12)) <= 0.05 for row in p]) <= 0.062
    every = p_values(np.full(12, 3.0), 0.0, repeats=100, correlation=0.3)
    assert all(partial_conjunction(row, most(12)) <= 0.05 for row in every)


def test_equivalence_is_claimed_wrongly_in_at_most_5_percent() -> None:
    rng = np.random.default_rng(RNG_SEED)
    true = np.array([0.0, 0.5, 0.0, 0.0])  # one cell at the margin
    values = true + rng.normal(size=(2000, 20, 4))
    half = stats.t.ppf(0.95, 19) * values.std(axis=1, ddof=1) / np.sqrt(20)
    mean = values.mean(axis=1)
    wrong = np.mean([all_equivalent(m - h, m + h, 0.5) for m, h in zip(mean, half, strict=True)])
    assert wrong <= 0.062
