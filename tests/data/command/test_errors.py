"""A full disk and missing rights are one sentence, whatever a library raises in the system's place."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors import SafetensorError
from safetensors.torch import save_file

from data.command.base import StoreCommand
from data.errors import DamagedError, InputError
from data.system.os_errors import cause_of


def outcome(error: Exception, cause: Exception | None = None) -> Result:
    @click.command(cls=StoreCommand)
    def main() -> None:
        raise error from cause

    return CliRunner().invoke(main, [])


FULL = OSError(errno.ENOSPC, "No space left on device", "x")


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (FULL, None),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), None),
        (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), None),
        (RuntimeError("a codec failed"), FULL),
        (InputError("--out x: cannot be written there"), FULL),
    ],
)
def test_full_disk_prints_one_sentence_and_exits_with_75(error: Exception, cause: Exception | None) -> None:
    done = outcome(error, cause)
    assert done.exit_code == 75
    assert done.stderr.startswith("Error: the disk is full (")
    assert "the same command continues" in done.stderr


def test_file_size_limit_prints_one_sentence_and_exits_with_75() -> None:
    for error in (SafetensorError("I/O error: File too large (os error 27)"), OSError(errno.EFBIG, "File too large")):
        done = outcome(error)
        assert done.exit_code == 75
        assert done.stderr.startswith("Error: a file would become larger than is allowed here (")
        assert "raise `ulimit -f`" in done.stderr


def test_damaged_file_error_names_the_remedy() -> None:
    done = outcome(DamagedError("tokens/c.0.0 is missing"))
    assert done.exit_code == 2
    assert "tokens/c.0.0 is missing; put the file back from a copy, or harvest the store again" in done.stderr


def test_permission_errors_exit_with_2_and_other_errors_keep_their_traceback() -> None:
    done = outcome(SafetensorError("Error while serializing: I/O error: Permission denied (os error 13)"))
    assert (done.exit_code, "Permission denied; change its rights" in done.stderr) == (2, True)
    for error in (SafetensorError("invalid header"), OSError(errno.EIO, "Input/output error"), ValueError("x")):
        assert outcome(error).exception is error


def test_disk_errors_raised_by_safetensors_are_recognised(tmp_path: Path) -> None:
    """A limit on a file's size stands in for the disk's end: it is an error of the system too, and needs no rights."""
    _, hard = before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(SafetensorError) as caught:
            save_file({"x": torch.zeros(1 << 20)}, tmp_path / "x")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    cause = cause_of(caught.value)
    assert cause is not None
    assert cause.errno == errno.EFBIG


SWALLOWS = """
import sys
import click
from data.command.base import InterruptibleCommand

@click.command(cls=InterruptibleCommand)
def main():
    while True:
        try:
            print("ready", flush=True)
            sys.stdin.read()
        except BaseException:
            pass

main([])
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_signals_end_a_command_even_if_a_library_catches_all_exceptions(number: signal.Signals, code: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SWALLOWS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env={**os.environ},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert "run the same command again" in said
