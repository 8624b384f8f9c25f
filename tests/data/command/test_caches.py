"""The folders of libraries' caches when the home directory cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import os
from data.command.libraries.caches import keep_caches_writable
keep_caches_writable()
import matplotlib
print(matplotlib.get_configdir(), os.environ.get("TRITON_CACHE_DIR"), sep="\\n")
"""


def run(**environment: str | Path) -> list[str]:
    moved = ("CONFIGDIR", "CACHE_DIR", "_HOME")
    cleared = {name: value for name, value in os.environ.items() if not name.endswith(moved)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=cleared | {k: str(v) for k, v in environment.items()},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_library_caches_move_to_the_temporary_folder_if_home_is_not_writable(tmp_path: Path) -> None:
    folder = tmp_path / f"nsae-{os.getuid()}"
    folders = run(HOME=tmp_path / "absent", TMPDIR=tmp_path)
    assert folders == [str(folder / "mplconfigdir"), str(folder / "triton_cache_dir")]
    assert folder.stat().st_mode & 0o777 == 0o700


def test_cache_folders_set_in_the_environment_are_kept(tmp_path: Path) -> None:
    folders = run(HOME=tmp_path / "absent", TMPDIR=tmp_path, MPLCONFIGDIR=tmp_path, TRITON_CACHE_DIR=tmp_path)
    assert folders == [str(tmp_path), str(tmp_path)]


def test_library_caches_stay_in_a_writable_home(tmp_path: Path) -> None:
    matplotlib, triton = run(HOME=tmp_path)
    assert Path(matplotlib).is_relative_to(tmp_path)
    assert triton == "None"
