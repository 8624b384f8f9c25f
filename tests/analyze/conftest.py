"""A store of the demo model, and runs on it: two α of each architecture, NSAE with two seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.fixture_types import Command
from tests.helpers.made_once import made_once

EXPERIMENTS = {
    "baseline": ("--variant", "baseline", "--l1", "5e-4,5e-3"),
    "nsae": ("--variant", "nsae", "--l1", "1e-5,1e-4", "--seed", "0,1", "--l1-warmup", "8k"),
}


@pytest.fixture(scope="session")
def demo_store(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers of the demo model. Nothing may be written into it."""

    def harvest(folder: Path) -> None:
        done = command(
            "harvest", "--model", "demo", "--tokens", "60k", "--context-size", "32", "--out", folder / "demo.zarr",
            "--layers", "1,4", "--device", "cpu",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    return made_once(tmp_path_factory, "demo-store", harvest) / "demo.zarr"


@pytest.fixture(scope="session")
def demo_runs(command: Command, demo_store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """(store, experiments' folders). Nothing may be written into them."""

    def train(folder: Path) -> None:
        for name, options in EXPERIMENTS.items():
            done = command(
                "train", "--store", demo_store, "--expansion", "4", "--batch-size", "64", "--activations", "16k",
                "--lr", "1e-3", "--validate-every", "2k", "--log-every", "2k", "--snapshots", "5", "--device", "cpu",
                "--out", folder / name, *options,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr

    folder = made_once(tmp_path_factory, "demo-runs", train)
    return demo_store, [folder / name for name in EXPERIMENTS]
