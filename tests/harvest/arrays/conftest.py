"""Stores of arrays in the test's own folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import harvest.arrays.prepare
import harvest.arrays.run
from data import Store
from harvest import store_arrays

Make = Callable[..., Store]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Store arrays at OUT in the test's folder, without printing."""

    def make(path: Path, name: str = "made.zarr", **options: Any) -> Store:
        return store_arrays(path, out=tmp_path / name, quiet=True, **options)

    return make


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a store of a thousand rows have several windows, and a window several batches, each of them synced."""
    monkeypatch.setattr("data.store.layout.MAX_ROWS_PER_SHARD", 64)
    monkeypatch.setattr(harvest.arrays.prepare, "SHARDS_PER_WINDOW", 4)
    monkeypatch.setattr(harvest.arrays.run, "BATCH_BYTES", 2000)
    monkeypatch.setattr(harvest.arrays.run, "SYNC_SECONDS", 0.0)
