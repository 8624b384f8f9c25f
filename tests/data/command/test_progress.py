"""A bar on a terminal, a line a minute in a log."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import time

import pytest

from data.command import progress
from data.command.progress import Bar, log_line

SCRIPT = """
import time
from data.command import progress
progress.LOG_SECONDS = 0.1
begin = time.monotonic()
with progress.Bar(total=4000, initial=1000, desc="training", unit="row", unit_scale=True) as bar:
    for _ in range(30):
        time.sleep(0.015)
        bar.set_postfix_str("loss 0.5", refresh=False)
        bar.set_description("validating")
        bar.set_description("training")
        bar.update(100)
print(time.monotonic() - begin)
"""


def test_progress_without_a_terminal_prints_few_whole_lines() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert "\r" not in done.stderr
    assert lines[0] == "training: 1.00k of 4.00k rows"
    assert 3 <= len(lines) <= 2 + float(done.stdout) / 0.1  # the first and last line come whatever the time
    assert lines[-1].startswith("training: 4.00k of 4.00k rows, ")
    assert lines[-1].endswith("rows/s, 00:00 left, loss 0.5")


def test_progress_on_a_terminal_draws_a_bar() -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    done = subprocess.Popen([sys.executable, "-c", SCRIPT], stderr=theirs)
    os.close(theirs)
    text = b""
    try:
        while part := os.read(ours, 65536):
            text += part
    except OSError:  # the other end is closed
        pass
    assert done.wait() == 0
    assert text.count(b"\r") > 3
    assert b"%|" in text


def test_progress_logs_one_line_per_minute_however_often_it_is_refreshed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr("data.command.progress.time.monotonic", lambda: now[0])
    bar = Bar(total=1000, desc="patching", unit="context", mininterval=0)
    for second in range(600):
        now[0] = float(second)
        bar.update(1)
        bar.refresh()
    bar.close()
    assert len(capsys.readouterr().err.splitlines()) == 10


def test_progress_logs_lines_while_nothing_is_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.15)
    begin, text = time.monotonic(), ""
    with Bar(total=10, desc="training", unit="row") as bar:
        bar.set_description("validating")
        while text.count("\n") < 3 and time.monotonic() - begin < 60:
            time.sleep(0.05)
            text += capsys.readouterr().err
        seconds = time.monotonic() - begin
    first, *others = text.splitlines()
    assert first == "training: 0 of 10 rows"
    assert 2 <= len(others) <= seconds / 0.15
    assert all(line.startswith("validating: 0 of 10 rows") for line in others)


def test_progress_line_shows_stage_count_total_rate_and_time_left() -> None:
    facts = {"n": 30, "total": 90, "initial": 10, "elapsed": 10.0, "rate": None, "unit": "context", "unit_scale": False,
             "prefix": "patching: ", "postfix": None}  # fmt: skip
    assert log_line(facts) == "patching: 30 of 90 contexts, 2 contexts/s, 00:30 left"
    assert log_line({**facts, "total": None}) == "patching: 30 contexts, 2 contexts/s"
