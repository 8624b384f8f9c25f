"""The size of a memory-mapped shard's file, which must not change while the map is in use."""

from __future__ import annotations

import os
from collections.abc import Callable

from data.errors import DamagedError
from data.store.chunks import TRAILER_BYTES, ArrayFile


def mapped_size_check(array: ArrayFile, shard: int) -> Callable[[], None]:
    """Return a function that raises DamagedError if the file of a shard in `array` has changed its size.

    Reading a map beyond the end of its file ends the process (SIGBUS).
    """
    path, expected = str(array.chunk_path(shard)), array.spec.chunk_bytes + TRAILER_BYTES

    def check() -> None:
        try:
            size = os.stat(path).st_size
        except OSError as error:
            raise DamagedError(f"shard {shard}: {path} cannot be read any more ({error.strerror})") from error
        if size != expected:
            raise DamagedError(f"shard {shard}: {path} has changed while it was read: it has {size} bytes now")

    return check
