"""Stores and runs that are made once: of the demo model, and of made-up activations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from data import open_store
from tests.helpers.fixture_types import Command, LocalStore, MakeStore
from tests.helpers.made_once import made_once
from tests.helpers.pages.browser import chromium

EXPERIMENTS = {
    "baseline": ("--variant", "baseline", "--l1", "5e-4,5e-3"),
    "nsae": ("--variant", "nsae", "--l1", "1e-5,1e-4", "--seed", "0,1", "--l1-warmup", "4k"),
}


@pytest.fixture(scope="session")
def demo_store(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers of the demo model. Nothing may be written into it."""

    def harvest(folder: Path) -> None:
        done = command(
            "harvest", "--model", "demo", "--tokens", "14k", "--context-size", "32", "--out", folder / "demo.zarr",
            "--layers", "1,4", "--held-out", "40", "--device", "cpu",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    return made_once(tmp_path_factory, "demo-store", harvest) / "demo.zarr"


@pytest.fixture(scope="session")
def demo_runs(command: Command, demo_store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """(store, experiments' folders): two α of each architecture, NSAE with two seeds. Nothing may be written there."""

    def train(folder: Path) -> None:
        for name, options in EXPERIMENTS.items():
            done = command(
                "train", "--store", demo_store, "--expansion", "2", "--batch-size", "64", "--activations", "8k",
                "--lr", "1e-3", "--validate-every", "1k", "--validate-rows", "256", "--log-every", "1k",
                "--snapshots", "5", "--device", "cpu", "--out", folder / name, *options,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr

    folder = made_once(tmp_path_factory, "demo-runs", train)
    return demo_store, [folder / name for name in EXPERIMENTS]


@pytest.fixture(scope="session")
def small_runs(
    command: Command, make_store_in: MakeStore, tmp_path_factory: pytest.TempPathFactory
) -> tuple[LocalStore, Path]:
    """(made-up store, experiment's folder): a baseline and an NSAE of two layers. Nothing may be written there."""

    def train(folder: Path) -> None:
        widths = {"blocks.0.hook_mlp_out": 16, "blocks.1.hook_mlp_out": 16}
        store, _, _ = make_store_in(root=folder, n_contexts=80, n_heldout=20, widths=widths)
        done = command(
            "train", "--store", store.path, "--variant", "baseline,nsae", "--lr", "1e-3", "--expansion", "4",
            "--batch-size", "64", "--activations", "4k", "--validate-every", "2k", "--device", "cpu",
            "--out", folder / "runs",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    folder = made_once(tmp_path_factory, "small-runs", train)
    return cast(LocalStore, open_store(folder / "made.zarr")), folder / "runs"


@pytest.fixture
def without_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw figures without fitting their panels to the text, which takes half of the time of a drawing."""
    monkeypatch.setattr("matplotlib.layout_engine.ConstrainedLayoutEngine.execute", lambda engine, figure: None)


@pytest.fixture
def blank_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write all figures blank, for tests of a report's text and tables: drawing takes most of a report's time."""

    def blank(figure: Figure) -> bytes:
        pyplot.close(figure)
        return b"blank"

    monkeypatch.setattr("analyze.report.write.as_png", blank)
    monkeypatch.setattr("analyze.report.write.chart_png", lambda chart, choices=None: b"blank")
    monkeypatch.setattr("analyze.report.html.javascript_bundle", lambda: "")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser that sends no requests."""
    with chromium() as started:
        yield started
