"""Whether a command will be able to write its output, tried before it does any work."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from data.errors import InputError


def check_writable(folder: Path, option: str = "--out", *, remedy: str = "choose another --out") -> None:
    """Try to create a file in a local folder, which need not exist yet, and leave nothing behind.

    The trial happens under a name of its own in the nearest folder that exists, so several processes may try at once.
    Raises InputError, naming the option, where the folder cannot be created or written, or a file is in its place.
    """
    path = folder.absolute()
    existing = next(parent for parent in (path, *path.parents) if os.path.lexists(parent))
    if not existing.is_dir():
        raise InputError(f"{option} {folder}: {existing} is not a folder; {remedy}")
    try:
        with tempfile.TemporaryDirectory(prefix=".trial-", dir=existing) as trial:
            inner = Path(trial) / path.relative_to(existing)
            inner.mkdir(parents=True, exist_ok=True)
            (inner / "file").write_bytes(b"1")
    except OSError as error:
        raise InputError(f"{option} {folder}: nothing can be written there ({error.strerror}); {remedy}") from error
