"""Cache folders of libraries: matplotlib's list of fonts, compiled kernels."""

from __future__ import annotations

import getpass
import os
import tempfile
from pathlib import Path

IN_HOME = ("MPLCONFIGDIR", "TRITON_CACHE_DIR")  # environment variables that name such folders
BY_USER = ("TORCHINDUCTOR_CACHE_DIR",)


def keep_caches_writable() -> None:
    """Move these folders to the system's temporary folder if the home directory cannot be written.

    PyTorch's compiler names its folder after the user; that folder moves if the user has no name. Environment variables
    that are set stay as they are. The libraries read the variables when they are imported.
    """
    if not os.access(os.path.expanduser("~"), os.W_OK):
        _move(IN_HOME)
    try:
        getpass.getuser()
    except (KeyError, OSError):
        _move(BY_USER)


def _move(variables: tuple[str, ...]) -> None:
    missing = [variable for variable in variables if variable not in os.environ]
    if missing:
        folder = _private_folder()
        os.environ.update({variable: str(folder / variable.lower()) for variable in missing})


def _private_folder() -> Path:
    """Return a folder that only this user can write, because kernels are executed from it."""
    folder = Path(tempfile.gettempdir()) / f"nsae-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder if folder.stat().st_uid == os.getuid() else Path(tempfile.mkdtemp(prefix="nsae-"))
