"""A command that a signal meets in its first seconds, while its libraries are imported."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = {
    "harvest": ["--model", "demo", "--tokens", "100k", "--out", "store.zarr"],
    "train": ["--store", "store.zarr", "--variant", "baseline"],
    "analyze": ["store", "--store", "store.zarr"],
}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
@pytest.mark.parametrize("name", COMMANDS)
def test_command_signalled_during_its_imports_exits_as_after_any_stop(
    tmp_path: Path, name: str, number: signal.Signals, code: int
) -> None:
    command = [sys.executable, "-X", "importtime", "-m", name, *COMMANDS[name]]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    for line in process.stderr:
        if line.split()[-1] == "click.core":  # the first library after those that are needed to stop
            process.send_signal(number)
            break
    output = process.stderr.read()
    assert process.wait() == code, output
    assert "Traceback" not in output
