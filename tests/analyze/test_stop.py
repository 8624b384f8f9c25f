"""Analyses stop at once when they are asked to, and leave nothing half-written."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_report_stopped_by_a_signal_is_continued_by_the_same_command(
    demo_runs: tuple[Path, list[Path]], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    path, folders = demo_runs
    run = folders[0] / "baseline_l1=0.0005"
    arguments = ["report", "--store", path, "--model", "demo", run, "--out", tmp_path / "r", "--contexts", "3",
                 "--snapshot-contexts", "1", "--held-out", "4", "--features", "0", "--device", "cpu"]  # fmt: skip
    command = [sys.executable, "-m", "analyze", *map(str, arguments)]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    said = ""
    while "patching" not in said:
        line = running.stderr.readline()
        assert line, f"it ended first: {said}"
        said += line
    running.send_signal(number)
    begin = time.monotonic()
    _, rest = running.communicate(timeout=60)
    assert running.returncode == code
    assert time.monotonic() - begin < 30
    assert "the same command does it" in rest
    assert "Traceback" not in said + rest
    assert {path.name for path in (tmp_path / "r").iterdir()} == {"measured"}  # what was measured so far
    if number == signal.SIGTERM:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "r" / "index.html").is_file()
        assert not (tmp_path / "r" / "measured").exists()
        assert not list((tmp_path / "r").rglob("*.partial"))
