"""Norms by layer, from a store's statistics, against its rows."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analyze.measure.norms import QUANTILES, norm_quantiles
from data.store import stats
from tests.helpers.fixture_types import Command, MakeStore
from tests.norm_stats import norm_stats


def test_norms_equal_those_of_the_rows_with_and_without_position_0(
    make_store: MakeStore, command: Command, tmp_path: Path
) -> None:
    store, _, _ = make_store(n_contexts=80)
    out = tmp_path / "norms"
    output = json.loads(command("analyze", "norms", "--store", store.path, "--json", "--out", out).stdout)
    lines = {(line["hook"], line["subset"]): line for line in output["norms"]}
    for hook in store.hooks:
        rows = np.concatenate([store.rows(hook, s) for s in store.shards("train")]).astype(np.float64)
        position = np.concatenate([store.origin(s)[1] for s in store.shards("train")])
        for subset, kept in (("all", position >= 0), ("without 0", position > 0)):
            norm, line = np.linalg.norm(rows[kept], axis=1), lines[hook, subset]
            assert line["rows"] == len(norm)
            assert line["mean"] == pytest.approx(norm.mean())
            assert line["variance"] == pytest.approx(norm.var())
            assert line["largest_entry"] == np.abs(rows[kept]).max()
            for q in QUANTILES:
                exact = np.quantile(norm, q)
                assert abs(np.log2(line[f"q{round(100 * q):02}"] / exact)) < 1 / stats.BINS_PER_OCTAVE
            bins = [b for b in output["histogram"] if (b["hook"], b["subset"]) == (hook, subset)]
            assert sum(b["rows"] for b in bins) == len(norm)
            assert all(b["rows"] == np.sum((norm >= b["low"]) & (norm < b["high"])) for b in bins)
    assert (out / "norms.png").read_bytes()[:4] == b"\x89PNG"
    read = list(csv.DictReader(io.StringIO((out / "histogram.csv").read_text())))
    assert len(read) == len(output["histogram"])


def statistics(norms: np.ndarray, first: np.ndarray | None = None) -> stats.NormStats:
    """Of rows with one channel: the norms at positions after 0, and those at position 0."""
    first = np.zeros(0) if first is None else first
    rows = np.concatenate([norms, first])[:, None]
    return norm_stats(rows, np.arange(len(rows)) >= len(norms))


def off(values: np.ndarray, exact: np.ndarray) -> float:
    return float(np.abs(values / exact - 1).max())


def middles(norms: np.ndarray) -> np.ndarray:
    """The middles of the bins that the quantiles are in."""
    k = np.searchsorted(stats.bin_edges(), np.quantile(norms, QUANTILES), side="right")
    return np.sqrt(stats.bin_edges()[k - 1] * stats.bin_edges()[k])


DRAWN = np.random.default_rng(0)
NORMAL, PEAKS = DRAWN.normal(size=20_000), DRAWN.choice([-1.0, 1.0], size=20_000)
SMOOTH = {
    "log-normal": lambda spread: np.exp(spread * NORMAL),
    "skewed to the right": lambda spread: DRAWN.gamma(spread**-2, spread**2, 20_000),
    "skewed to the left": lambda spread: np.exp(spread * np.log(DRAWN.gamma(25, 0.04, 20_000)) / 0.2),
    "heavy tails": lambda spread: np.exp(spread * DRAWN.standard_t(4, size=20_000) / 2**0.5),
}
ROUGH = {
    "a jump on the left": lambda spread: np.exp(spread * DRAWN.exponential(size=20_000)),
    "a jump on the right": lambda spread: np.exp(-spread * DRAWN.exponential(size=20_000)),
    "two peaks": lambda spread: np.exp(spread * (PEAKS + 0.3 * NORMAL)),
}


def worst(shape: Callable[[float], np.ndarray], spread: float) -> tuple[float, float]:
    """(error of the quantiles, error of the bins' middles), the largest over where in a bin the norms lie."""
    drawn = shape(spread)
    errors = []
    for centre in 10 * 2 ** (np.arange(8) / 8 / stats.BINS_PER_OCTAVE):
        exact = np.quantile(centre * drawn, QUANTILES)
        quantiles = norm_quantiles(statistics(centre * drawn), stats.Subset.ALL, QUANTILES)
        errors.append((off(quantiles, exact), off(middles(centre * drawn), exact)))
    return max(error for error, _ in errors), max(error for _, error in errors)


@pytest.mark.parametrize("spread", [0.005, 0.02, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("shape", SMOOTH)
def test_norm_quantiles_of_a_smooth_distribution_are_within_a_percent(shape: str, spread: float) -> None:
    assert worst(SMOOTH[shape], spread)[0] < 0.01


@pytest.mark.parametrize("spread", [0.005, 0.02, 0.05, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("shape", ROUGH)
def test_norm_quantiles_are_at_least_as_close_as_bin_middles(shape: str, spread: float) -> None:
    error, of_middles = worst(ROUGH[shape], spread)
    assert error <= of_middles


def test_norm_quantiles_are_unaffected_by_outliers_at_position_0() -> None:
    norms, first = 10 * np.exp(0.01 * NORMAL), np.full(100, 3000.0)
    quantiles = norm_quantiles(statistics(norms, first), stats.Subset.ALL, QUANTILES)
    assert off(quantiles, np.quantile(np.concatenate([norms, first]), QUANTILES)) < 0.002


@pytest.mark.parametrize("norm", [2.0**-3, 1.0, 7.3])
def test_norm_quantiles_of_equal_norms_are_that_norm(norm: float) -> None:
    assert off(norm_quantiles(statistics(np.full(1000, norm)), stats.Subset.ALL, QUANTILES), np.full(5, norm)) < 0.002


def test_norm_quantiles_are_monotonic() -> None:
    norms = np.exp(0.1 * np.concatenate([NORMAL, 5 + 3 * NORMAL, np.full(1000, 9.0)]))
    assert (np.diff(norm_quantiles(statistics(norms), stats.Subset.ALL, np.linspace(0, 1, 500).tolist())) >= 0).all()


def test_norm_quantiles_in_open_bins_are_within_their_bounds() -> None:
    tiny, huge = statistics(np.full(10, 2.0**-18)), statistics(np.full(10, 2.0**22))
    assert 0 < norm_quantiles(tiny, stats.Subset.ALL, [0.5])[0] < 2.0**stats.LOWEST_OCTAVE
    assert norm_quantiles(huge, stats.Subset.ALL, [0.1, 0.5]).tolist() == [2.0**stats.HIGHEST_OCTAVE] * 2
    assert norm_quantiles(statistics(np.zeros(10)), stats.Subset.ALL, [0.5])[0] < 2.0**stats.LOWEST_OCTAVE


def test_analyze_store_table_has_column_heads(make_store: MakeStore, command: Command) -> None:
    store, _, _ = make_store()
    table = command("analyze", "store", "--store", store.path).stdout.splitlines()
    head = next(i for i, line in enumerate(table) if line.startswith("hook"))
    assert table[head - 1].split() == ["norm", "‖x‖₂", "…", "without", "position", "0", "entry", "|xᵢ|"]
    assert table[head].split() == ["hook", "d", "mean", "variance", "mean", "variance", "largest"]


def test_norm_quantiles_of_no_rows_are_nan() -> None:
    assert np.isnan(norm_quantiles(stats.empty(3), stats.Subset.ALL, [0.5])).all()
