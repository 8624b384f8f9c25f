"""Whether a command will be able to write its output, tried before it does any work."""

from __future__ import annotations

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
    """Create a file in a local folder, which need not exist yet, and leave nothing behind.

    The trial happens under a name of its own in the nearest folder that exists, so several processes may try at once.
    Raises OSError, whose `strerror` is part of a sentence, where the folder cannot be created or written, or a file is
    in its place.
    """
    path = folder.absolute()
    existing = next(parent for parent in (path, *path.parents) if os.path.lexists(parent))
    if not existing.is_dir():
        raise OSError(errno.ENOTDIR, f"{existing} is not a folder")
    try:
        with tempfile.TemporaryDirectory(prefix=".trial-", dir=existing) as trial:
            inner = Path(trial) / path.relative_to(existing)
            inner.mkdir(parents=True, exist_ok=True)
            (inner / "file").write_bytes(b"1")
    except OSError as error:
        raise OSError(error.errno, f"nothing can be written there ({error.strerror})") from error
