from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.store import stats
from tests.norm_stats import norm_stats


def rows(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 6)).astype(np.float32) * rng.lognormal(size=(n, 1)).astype(np.float32)
    return x, rng.random(n) < 0.2


def check_same(actual: stats.NormStats, expected: stats.NormStats) -> None:
    assert np.allclose(actual.moments, expected.moments, rtol=1e-12)
    assert np.allclose(actual.norms, expected.norms, rtol=1e-12)
    assert np.array_equal(actual.histogram, expected.histogram)


def test_moments_and_norms_agree_with_numpy_in_float64() -> None:
    x, first = rows(1000, 0)
    norms_of_x = norm_stats(x, first)
    for subset, part in ((stats.Subset.ALL, x), (stats.Subset.WITHOUT_FIRST, x[~first])):
        norms = np.linalg.norm(part.astype(np.float64), axis=1)
        assert norms_of_x.count(subset) == len(part)
        assert norms_of_x.mean_norm(subset) == pytest.approx(norms.mean(), rel=1e-12)
        assert norms_of_x.norm_variance(subset) == pytest.approx(norms.var(), rel=1e-9)
        assert norms_of_x.mean(subset) == pytest.approx(part.astype(np.float64).mean(0), rel=1e-9, abs=1e-12)
        assert norms_of_x.variance(subset) == pytest.approx(part.astype(np.float64).var(0), rel=1e-9)
        assert norms_of_x.largest(subset) == np.abs(part).max()
        edges = np.concatenate([[0], stats.bin_edges(), [np.inf]])
        assert np.array_equal(norms_of_x.histogram[subset.axis_index], np.histogram(norms, bins=edges)[0])


@given(cuts=st.lists(st.integers(0, 300), max_size=5), seed=st.integers(0, 99))
def test_merged_statistics_of_any_split_equal_those_of_the_whole(cuts: list[int], seed: int) -> None:
    x, first = rows(300, seed)
    whole = norm_stats(x, first)
    pieces = np.split(np.arange(300), sorted(cuts))
    merged = stats.merge((norm_stats(x[p], first[p]) for p in pieces if len(p)), 6)
    check_same(merged, whole)


@given(cuts=st.lists(st.integers(0, 300), max_size=5), d=st.sampled_from([1, 2, 3, 8, 100, 1000]))
def test_sums_are_the_same_bit_for_bit_whatever_the_parts_are(cuts: list[int], d: int) -> None:
    rng = np.random.default_rng(d)
    x = (rng.normal(size=(300, d)) * rng.lognormal(size=(300, 1))).astype(np.float32)
    first = rng.random(300) < 0.2
    whole, running = norm_stats(x, first), stats.RunningSums.zeros(d)
    for p in np.split(np.arange(300), sorted(cuts)):
        running.add(x[p], first[p])
    for field in ("moments", "norms", "histogram"):
        assert np.array_equal(getattr(running.stats(), field), getattr(whole, field))


@pytest.mark.parametrize("d", [1, 5])
def test_sums_add_one_row_after_the_other_in_float64(d: int) -> None:
    x = np.random.default_rng(0).normal(size=(500, d)).astype(np.float16)
    total, squares = np.zeros(d), np.zeros(d)
    for row in x.astype(np.float64):
        total, squares = total + row, squares + row * row
    running = norm_stats(x, np.zeros(500, dtype=bool))
    assert np.array_equal(running.moments[0], np.stack([total, squares]))


def test_every_finite_float16_counts_with_its_value() -> None:
    x = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    x = x[np.isfinite(x)][:, None]
    norms = np.abs(x[:, 0].astype(np.float64))
    for value, norm in zip(np.split(x, 512), np.split(norms, 512), strict=True):  # sums that one wrong value changes
        norms_of_x = norm_stats(value, np.zeros(len(value), dtype=bool))
        assert norms_of_x.moments[stats.Subset.ALL.axis_index, 0, 0] == pytest.approx(
            value.astype(np.float64).sum(), rel=1e-12
        )
        assert norms_of_x.norms[stats.Subset.ALL.axis_index, stats.NORM_SUM] == pytest.approx(norm.sum(), rel=1e-12)
        assert norms_of_x.largest() == norm.max()


def test_mean_norm_of_no_rows_is_nan() -> None:
    assert np.isnan(stats.empty(3).mean_norm())


def test_histogram_counts_norms_of_any_size() -> None:
    x = np.array([[0.0], [2.0**-40], [1.0], [2.0**30]], dtype=np.float32)
    norms_of_x = norm_stats(x, np.zeros(4, dtype=bool))
    assert norms_of_x.histogram[stats.Subset.ALL.axis_index].sum() == 4
    assert norms_of_x.histogram[stats.Subset.ALL.axis_index][0] == 2
    assert norms_of_x.histogram[stats.Subset.ALL.axis_index][-1] == 1
