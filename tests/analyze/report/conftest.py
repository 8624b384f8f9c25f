"""A report on small runs, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.fixture_types import Command
from tests.helpers.made_once import made_once

SCOPE = ("--contexts", "4", "--snapshot-contexts", "2", "--held-out", "12", "--features", "2", "--device", "cpu")


@pytest.fixture(scope="session")
def report(demo_runs: tuple[Path, list[Path]], command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report on `demo_runs`, with the language model. Nothing may be written there."""
    store, folders = demo_runs

    def make(folder: Path) -> None:
        out = folder / "report"
        with pytest.MonkeyPatch.context() as patch:  # half of the drawing's time; test_style.py looks at a layout
            patch.setattr("matplotlib.layout_engine.ConstrainedLayoutEngine.execute", lambda engine, figure: None)
            done = command("analyze", "report", "--store", store, "--model", "demo", *folders, "--out", out, *SCOPE)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str(out / "index.html")

    return made_once(tmp_path_factory, "report", make) / "report"
