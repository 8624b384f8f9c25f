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


def test_quantiles_of_no_rows_are_no_numbers() -> None:
    assert np.isnan(histogram_quantiles(np.zeros(stats.N_BINS, dtype=np.int64), [0.5])).all()
