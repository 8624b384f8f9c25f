"""Analyses stop at once when they are asked to, and leave nothing half-written."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.processes.zygote import Zygote


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_report_stopped_by_a_signal_is_continued_by_the_same_command(
    demo_runs: tuple[Path, list[Path]], zygote: Zygote, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    path, folders = demo_runs
    run = folders[0] / "baseline_l1=0.0005"
    arguments = ["report", "--store", path, "--model", "demo", run, "--out", tmp_path / "r", "--contexts", "3",
                 "--snapshot-contexts", "1", "--held-out", "4", "--features", "0", "--device", "cpu"]  # fmt: skip
    zygote.preload("analyze.report.write", "analyze.features.unembedding")
    # Figures take most of a report's time.
    without_figures: dict[str, Any] = {"analyze.report.figures.catalogue.FIGURES": {}}
    running = zygote.start("analyze", *arguments, folder=tmp_path, patches=without_figures)
    while "patching" not in running.printed():
        assert running.poll() is None, f"it ended first: {running.printed()}"
        time.sleep(0.01)
    running.kill(number)
    begin = time.monotonic()
    stopped = running.wait()
    assert stopped.code == code
    assert time.monotonic() - begin < 30
    assert "run the same command again" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert {path.name for path in (tmp_path / "r").iterdir()} == {"measured"}  # what was measured so far
    kept = number == signal.SIGINT
    done = zygote.run("analyze", *arguments, *["--keep-measured"] * kept, folder=tmp_path, patches=without_figures)
    assert done.code == 0, done.stderr
    assert (tmp_path / "r" / "index.html").is_file()
    assert (tmp_path / "r" / "measured").exists() == kept
    assert not list((tmp_path / "r").rglob("*.partial"))
