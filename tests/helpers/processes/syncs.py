"""Commands of the tests do not wait for the disk, which takes most of the time of small writes.

Only a power cut could show the difference. tests/faults simulates power cuts: it records which bytes were synced.
"""

from __future__ import annotations

import os
from collections.abc import Callable


def skip_syncs(set_attribute: Callable[[object, str, object], object] = setattr) -> None:
    """Make `os.fsync` and `os.fdatasync` check the file descriptor only."""
    for name in ("fsync", "fdatasync"):
        set_attribute(os, name, _skipped)


def _skipped(fd: int) -> None:
    os.fstat(fd)  # raises OSError if the file is closed
