"""A new output folder has its name only once it is complete, whatever ended its writing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from data.errors import InputError
from data.system.lock import LockHeldError
from data.system.new_folder import new_folder

KILLED = """
import os, pathlib, signal, sys
from data.system.new_folder import new_folder
with new_folder(pathlib.Path(sys.argv[1])) as partial:
    (partial / "old").write_bytes(b"old")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_folder_appears_at_the_end_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    out = tmp_path / "ü x" / "out"
    with new_folder(out) as partial:
        (partial / "inner").mkdir()
        (partial / "inner" / "file").write_bytes(b"1")
        assert not out.exists()
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert (out / "inner" / "file").read_bytes() == b"1"


def test_exception_removes_the_unfinished_folder(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError), new_folder(tmp_path / "out") as partial:
        partial.mkdir()
    assert not any(tmp_path.iterdir())


def test_files_of_a_killed_process_do_not_get_into_the_next_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert subprocess.run([sys.executable, "-c", KILLED, str(out)], check=False).returncode == -9
    assert not out.exists()
    assert (tmp_path / "out.partial" / "old").exists()
    with new_folder(out) as partial:
        (partial / "new").write_bytes(b"1")
    assert [path.name for path in out.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_existing_folder_and_a_second_writer_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with new_folder(out) as partial:
        (partial / "file").write_bytes(b"1")
        with pytest.raises(LockHeldError, match="another process is writing there"), new_folder(out):
            pass
    with pytest.raises(InputError, match="exists; remove it, or give another --out"), new_folder(out):
        pass
    assert (out / "file").read_bytes() == b"1"
