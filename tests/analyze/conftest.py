"""A store of the demo model, and runs on it: two α of each architecture, NSAE with two seeds."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def demo_store(command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers of the demo model. Nothing may be written into it."""
    store = tmp_path_factory.mktemp("demo") / "demo.zarr"
    done = command(
        "harvest", "--model", "demo", "--tokens", "60k", "--context-size", "32", "--out", store, "--layers", "1,4",
        "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return store


@pytest.fixture(scope="session")
def demo_runs(command, demo_store: Path) -> tuple[Path, list[Path]]:
    """(store, experiments' folders). Nothing may be written into them."""
    store, root = demo_store, demo_store.parent
    experiments = [
        ("baseline", "--variant", "baseline", "--l1", "5e-4,5e-3"),
        ("nsae", "--variant", "nsae", "--l1", "1e-5,1e-4", "--seed", "0,1", "--l1-warmup", "8k"),
    ]
    for name, *options in experiments:
        done = command(
            "train", "--store", store, "--expansion", "4", "--batch-size", "64", "--activations", "16k", "--lr", "1e-3",
            "--validate-every", "2k", "--log-every", "2k", "--snapshots", "5", "--device", "cpu", "--out", root / name,
            *options,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    return store, [root / name for name, *_ in experiments]
