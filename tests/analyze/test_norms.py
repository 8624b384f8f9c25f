"""Norms by layer, from a store's statistics, against its rows."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from analyze.norms import QUANTILES, histogram_quantiles
from data import stats


def test_norms_are_those_of_the_rows_with_and_without_position_0(make_store, command, tmp_path: Path) -> None:
    store, _, _ = make_store(n_contexts=80)
    out = tmp_path / "norms"
    found = json.loads(command("analyze", "norms", "--store", store.path, "--json", "--out", out).stdout)
    lines = {(line["hook"], line["subset"]): line for line in found["norms"]}
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
            bins = [b for b in found["histogram"] if (b["hook"], b["subset"]) == (hook, subset)]
            assert sum(b["rows"] for b in bins) == len(norm)
            assert all(b["rows"] == np.sum((norm >= b["low"]) & (norm < b["high"])) for b in bins)
    assert (out / "norms.png").read_bytes()[:4] == b"\x89PNG"
    read = list(csv.DictReader(io.StringIO((out / "histogram.csv").read_text())))
    assert len(read) == len(found["histogram"])


@pytest.mark.parametrize(("spread", "error"), [(0.1, 0.02), (0.3, 0.006), (1.0, 0.003)])
@pytest.mark.parametrize("centre", [0.01, 1.0, 21.7])
def test_quantiles_are_interpolated_within_the_bins(centre: float, spread: float, error: float) -> None:
    """The middles of the bins are up to 4.4 % off."""
    norms = centre * np.exp(spread * np.random.default_rng(0).normal(size=200_000))
    counts = np.bincount(np.searchsorted(stats.bin_edges(), norms, side="right"), minlength=stats.N_BINS)
    assert histogram_quantiles(counts, QUANTILES) == pytest.approx(np.quantile(norms, QUANTILES), rel=error)


def test_quantiles_of_norms_spread_evenly_within_bins_are_exact() -> None:
    even = np.exp(np.random.default_rng(1).uniform(np.log(2), np.log(8), 200_000))
    counts = np.bincount(np.searchsorted(stats.bin_edges(), even, side="right"), minlength=stats.N_BINS)
    assert histogram_quantiles(counts, [0.05, 0.5, 0.95]) == pytest.approx(
        np.quantile(even, [0.05, 0.5, 0.95]), rel=3e-3
    )


def test_the_open_bins_give_quantiles_within_them() -> None:
    lowest, highest = np.zeros((2, stats.N_BINS), dtype=np.int64)
    lowest[0], highest[-1] = 10, 10
    assert histogram_quantiles(lowest, [0.5])[0] == pytest.approx(2.0**stats.LOWEST_OCTAVE / 2)
    assert histogram_quantiles(highest, [0.0, 0.5]).tolist() == [2.0**stats.HIGHEST_OCTAVE] * 2


def test_the_store_command_says_of_what_its_figures_are(make_store, command) -> None:
    store, _, _ = make_store()
    table = command("analyze", "store", "--store", store.path).stdout.splitlines()
    head = next(i for i, line in enumerate(table) if line.startswith("hook"))
    assert table[head - 1].split() == ["norm", "‖x‖₂", "…", "without", "position", "0", "entry", "|xᵢ|"]
    assert table[head].split() == ["hook", "d", "mean", "variance", "mean", "variance", "largest"]


def test_quantiles_of_no_rows_are_no_numbers() -> None:
    assert np.isnan(histogram_quantiles(np.zeros(stats.N_BINS, dtype=np.int64), [0.5])).all()
