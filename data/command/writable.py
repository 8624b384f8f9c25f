"""Whether a command will be able to write its output, tried before it does any work."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path

from data.errors import InputError


def check_writable(folder: Path, option: str = "--out", *, remedy: str = "choose another --out") -> None:
    """Raise InputError, naming the option and the remedy, where `try_writing` fails."""
    try:
        try_writing(folder)
    except OSError as error:
        raise InputError(f"{option} {folder}: {error.strerror}; {remedy}") from error


def try_writing(folder: Path) -> None:
    """Create a file in a local folder, which need not exist yet, and leave nothing behind, even when killed.

    The trial happens in the nearest folder that exists: without a name, or under a name of its own where the file
    system has no files without names. So several processes may try at once.
    Raises OSError, whose `strerror` is part of a sentence, where the folder cannot be created or written, or a file is
    in its place.
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
    """Raise OSError where the file system allows no such name, for instance one that is too long."""
    with contextlib.suppress(FileNotFoundError):
        os.lstat(path)


def _write_without_name(folder: Path) -> bool:
    """Write a byte to a file without a name; False where the system has no such files. Raises OSError."""
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
