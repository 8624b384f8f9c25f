"""Check that a command can write its output, before it does any work."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path

from data.errors import InputError


def check_writable(folder: Path, option: str = "--out", *, remedy: str = "choose another --out") -> None:
    """Raise InputError, naming the option and the remedy, if a folder cannot be written."""
    try:
        try_writing(folder)
    except OSError as error:
        raise InputError(f"{option} {folder}: {error.strerror}; {remedy}") from error


def try_writing(folder: Path) -> None:
    """Try to create a file in a local folder, which need not exist yet, and leave nothing behind, even if killed.

    The file is created in the nearest existing parent. It has no name, or a unique one if the file system has no
    nameless files, so several processes can try at once.
    Raises OSError, with a `strerror` for a message, if the folder cannot be created or written, or is a file.
    """
    path = folder.absolute()
    existing = next(parent for parent in (path, *path.parents) if os.path.lexists(parent))
    if not existing.is_dir():
        raise OSError(errno.ENOTDIR, f"{existing} is not a folder")
    try:
        _check_name(path)
        if not _write_without_name(existing):
            with tempfile.NamedTemporaryFile(prefix=".trial-", dir=existing) as file:
                file.write(b"1")
    except OSError as error:
        raise OSError(error.errno, f"nothing can be written there ({error.strerror})") from error


def _check_name(path: Path) -> None:
    """Raise OSError if the file system does not allow the name, for example because it is too long."""
    with contextlib.suppress(FileNotFoundError):
        os.lstat(path)


def _write_without_name(folder: Path) -> bool:
    """Write a byte to a nameless file. Return False if the system has no such files. Raises OSError."""
    if not hasattr(os, "O_TMPFILE"):  # as on macOS
        return False
    try:
        file = os.open(folder, os.O_TMPFILE | os.O_WRONLY)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            return False
        raise
    try:
        os.write(file, b"1")
    finally:
        os.close(file)
    return True
