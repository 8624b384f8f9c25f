"""A small store and a small finished experiment, which the tests only read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.fixture_types import Command, LocalStore, MakeStore
from tests.helpers.trainings import SMALL, WIDTHS


@pytest.fixture(scope="session")
def store(make_store_in: MakeStore, tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    """Return a store with two hooks of width 16 and 2240 training rows."""
    return make_store_in(n_contexts=80, widths=WIDTHS, root=tmp_path_factory.mktemp("store"))[0]


@pytest.fixture(scope="session")
def trained(store: LocalStore, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a baseline SAE and an NSAE with the options SMALL; returns the experiment's folder."""
    out = tmp_path_factory.mktemp("runs") / "trained"
    done = command("train", "--store", store.path, "--variant", "baseline,nsae", *SMALL, "--out", out)
    assert done.returncode == 0, done.stderr
    return out
