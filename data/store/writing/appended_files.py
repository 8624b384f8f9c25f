"""Files that grow at their end, through the page cache or past it.

Direct writes (O_DIRECT) leave the page cache out. Where the disk is fast they take a fraction of the time, because the
kernel neither copies the bytes nor looks for free pages (benchmarks/store/write_modes.py). They must begin and end with
a block of the disk, in the file and in memory, so bytes are gathered in a buffer, and the part of a block at the end of
a file waits there for more.
"""

from __future__ import annotations

import mmap
import os
import threading
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

BLOCK = 4096  # bytes; a multiple of the blocks of all usual disks
BUFFER_BYTES = 4 << 20

Bytes = NDArray[np.uint8]
NO_BYTES: Bytes = np.empty(0, dtype=np.uint8)


class AppendedFiles(Protocol):
    """Appends to files. Several threads may append to different files at a time."""

    def append(self, path: Path, data: memoryview, offset: int) -> None:
        """Append bytes to a file that has `offset` bytes so far, or more that are to be replaced.

        The file is created if it is missing.
        """

    def flush(self) -> None:
        """Hand over to the system what has been appended. No other thread may append meanwhile."""


class BufferedFiles:
    """Appends through the page cache, so a process that reads the files next finds them in memory."""

    def append(self, path: Path, data: memoryview, offset: int) -> None:
        """See `AppendedFiles`."""
        pwrite(path, data, offset)

    def flush(self) -> None:
        """See `AppendedFiles`."""


class DirectFiles:
    """Appends by direct writes. `append` raises OSError where the file system or the platform has none."""

    def __init__(self) -> None:
        self._ends: dict[Path, tuple[int, Bytes]] = {}  # the begun block of each file: its offset, and its bytes
        self._unflushed: set[Path] = set()
        self._of_thread = threading.local()

    def append(self, path: Path, data: memoryview, offset: int) -> None:
        """See `AppendedFiles`."""
        begin, end = self._ends.get(path, (0, NO_BYTES))
        if begin + len(end) != offset:  # the first bytes since a stop
            begin = offset - offset % BLOCK
            end = _read(path, begin, offset - begin)
        source, buffer = np.frombuffer(data, dtype=np.uint8), self._buffer()
        descriptor = _open(path, getattr(os, "O_DIRECT", 0))
        try:
            while len(end) + len(source) >= BLOCK:
                count = min(len(source), BUFFER_BYTES - len(end))
                filled = len(end) + count
                buffer[: len(end)], buffer[len(end) : filled] = end, source[:count]
                whole = filled - filled % BLOCK
                _pwrite(descriptor, buffer[:whole].data, begin)
                begin, end, source = begin + whole, buffer[whole:filled].copy(), source[count:]
        finally:
            os.close(descriptor)
        self._ends[path] = begin, np.concatenate([end, source])
        self._unflushed.add(path)

    def flush(self) -> None:
        """See `AppendedFiles`. The begun blocks go through the page cache."""
        for path in self._unflushed:
            begin, end = self._ends[path]
            pwrite(path, end.data, begin)
        self._unflushed.clear()

    def _buffer(self) -> Bytes:
        """Return this thread's buffer of BUFFER_BYTES, which begins with a page of memory."""
        if not hasattr(self._of_thread, "buffer"):
            self._of_thread.buffer = np.frombuffer(mmap.mmap(-1, BUFFER_BYTES), dtype=np.uint8)
        buffer: Bytes = self._of_thread.buffer
        return buffer


def pwrite(path: Path, data: memoryview, offset: int) -> None:
    """Write bytes at an offset of a file, through the page cache; the file is created if it is missing."""
    descriptor = _open(path)
    try:
        _pwrite(descriptor, data, offset)
    finally:
        os.close(descriptor)


def _open(path: Path, flags: int = 0) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | flags, 0o666)


def _pwrite(descriptor: int, data: memoryview, offset: int) -> None:
    while data:
        done = os.pwrite(descriptor, data, offset)
        data, offset = data[done:], offset + done


def _read(path: Path, offset: int, count: int) -> Bytes:
    return np.fromfile(path, dtype=np.uint8, count=count, offset=offset) if count else NO_BYTES
