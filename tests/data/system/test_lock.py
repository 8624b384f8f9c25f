"""One process at a time writes an output, and the other is told which."""

from __future__ import annotations

import errno
import fcntl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.errors import InputError
from data.system.lock import is_held, lock_path, locked

HOLDER = """
import sys
from pathlib import Path
from data.system.lock import locked
with locked(Path(sys.argv[1]), "--out x"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return lock_path(tmp_path / "out")


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_and_told_the_first_ones_number_and_host(
    path: Path, holder: subprocess.Popen[str]
) -> None:
    assert is_held(path)
    with (
        pytest.raises(InputError, match=rf"--out x: another process is writing there \(process {holder.pid} on "),
        locked(path, "--out x"),
    ):
        pass


def test_a_killed_holder_leaves_a_free_lock_and_an_orderly_end_leaves_no_file(
    path: Path, holder: subprocess.Popen[str]
) -> None:
    holder.kill()
    holder.wait()
    assert path.exists()
    assert not is_held(path)
    with locked(path, "--out x"):
        assert is_held(path)
    assert not path.exists()
    assert not is_held(path)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named_and_no_other_process_is_blamed(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    def flock(fd: int, operation: int) -> None:
        raise OSError(number, "none")

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(path, "--out x"):
        pass
    assert "on a file system without locks" in capsys.readouterr().err
