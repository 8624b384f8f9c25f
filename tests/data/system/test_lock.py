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


def test_lock_refuses_a_second_process_and_names_the_first(path: Path, holder: subprocess.Popen[str]) -> None:
    assert is_held(path)
    with (
        pytest.raises(InputError, match=rf"--out x: another process is writing there \(process {holder.pid} on "),
        locked(path, "--out x"),
    ):
        pass


def test_lock_is_free_after_a_kill_and_its_file_is_removed_after_a_normal_exit(
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
def test_file_system_without_locks_gives_a_warning_only(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    def flock(fd: int, operation: int) -> None:
        raise OSError(number, "none")

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(path, "--out x"):
        pass
    assert "on a file system without locks" in capsys.readouterr().err
