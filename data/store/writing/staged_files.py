"""The unfinished files of one window: its rows, a file per array and shard, before they are committed.

    write   pwrite rows to ARRAY.SHARD, each file from front to back; nobody else reads these files
    sync    every few seconds: sync the files, then record in progress.json how many contexts they hold, and the number
            of rows and the checksum of each file

Checksums are computed while rows are written, so rows that change on the disk between a kill and the next start are
noticed. A kill loses the work since the last record.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.errors import DamagedError, WindowDamagedError
from data.store.chunks import crc32c, write_json
from data.store.layout import RowRange
from data.store.schema import Schema
from data.store.sealed import read_sealed, sealed
from data.system.location import file_size, sync_data, sync_directory

SYNC_THREADS = 16  # concurrent syncs share the file system's journal commits


class Written(NamedTuple):
    """How many rows a file has, from its front, and their CRC-32C."""

    n_rows: int
    checksum: int


class StagedFiles:
    """The files in `folder`. is_sealed: whether a file of this name has already been moved into the store."""

    def __init__(self, folder: Path, schema: Schema, is_sealed: Callable[[str], bool]) -> None:
        self.folder, self.schema, self._is_sealed = folder, schema, is_sealed
        self._unsynced: set[Path] = set()
        self._written: dict[str, Written] = {}  # by file name

    def path(self, name: str, shard: int) -> Path:
        """Return the file of an array's shard."""
        return self.folder / f"{name}.{shard}"

    def resume(self) -> int:
        """Continue with the files as recorded; return the number of the first context to write.

        Raises DamagedError if they are not as recorded.
        """
        try:
            progress = read_sealed(self.folder / "progress.json")
        except FileNotFoundError:
            return 0
        written = {name: Written(*pair) for name, pair in progress["written"].items()}
        for name, recorded in written.items():
            self.check_size(self.folder / name, recorded.n_rows)
        self._written = written
        return int(progress["contexts"])

    def write(self, ranges: list[RowRange], arrays: Mapping[str, NDArray[Any]], threads: Executor | None = None) -> int:
        """Append rows to the files, on `threads` if given; return the number of bytes. See `WindowWriter.write`."""
        run = threads.map if threads else map
        return sum(run(lambda name: self._write_array(ranges, name, arrays[name]), arrays))

    def _write_array(self, ranges: list[RowRange], name: str, rows: NDArray[Any]) -> int:
        size = rows.nbytes // len(rows)
        data = as_bytes(rows)
        begin = 0
        for row_range in ranges:
            path = self.path(name, row_range.shard)
            n_rows, checksum = self._written.get(path.name, Written(0, 0))
            if row_range.offset != n_rows:
                raise AssertionError(f"row {row_range.offset} of {path.name} is written, after {n_rows}")
            part = data[begin : begin + row_range.count * size]
            pwrite(path, part, row_range.offset * size)
            self._written[path.name] = Written(n_rows + row_range.count, crc32c(part, checksum))
            self._unsynced.add(path)
            begin += row_range.count * size
        return begin

    def sync(self, contexts_done: int) -> None:
        """Make all written rows durable, then record that all contexts before `contexts_done` are."""
        with ThreadPoolExecutor(SYNC_THREADS) as pool:
            list(pool.map(_fdatasync, self._unsynced))
        self._unsynced.clear()
        sync_directory(self.folder)
        write_json(self.folder / "progress.json", sealed({"contexts": contexts_done, "written": self._written}))

    def check_size(self, path: Path, n_rows: int) -> None:
        """Raise DamagedError if a file is not an ordinary one with at least `n_rows` rows, and is not sealed either."""
        dtype, d = self.schema.activation_arrays[path.name.rpartition(".")[0]]
        try:
            size = -1 if path.is_symlink() else file_size(path)
        except FileNotFoundError as error:
            if self._is_sealed(path.name):
                return
            raise DamagedError(f"{path} is missing") from error
        except OSError as error:
            raise DamagedError(f"{path} cannot be read ({error.strerror or error})") from error
        if size < n_rows * d * dtype.itemsize:
            raise DamagedError(f"{path} is damaged: it does not have the rows that were written to it")

    def check_rows(self, name: str, shard: int, n_rows: int, checksum: int) -> None:
        """Raise WindowDamagedError if a file's rows do not have the checksum with which they were written."""
        path = self.path(name, shard)
        if self._written.get(path.name) != Written(n_rows, checksum):
            raise WindowDamagedError(f"{path} is damaged: its rows are not those that were written")


def as_bytes(array: NDArray[Any]) -> memoryview:
    """Return an array's bytes in C order."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def pwrite(path: Path, data: memoryview, offset: int) -> None:
    """Write bytes at an offset of a file, which is created if it is missing."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        while data:
            done = os.pwrite(fd, data, offset)
            data, offset = data[done:], offset + done
    finally:
        os.close(fd)


def _fdatasync(path: Path) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        sync_data(fd)
    finally:
        os.close(fd)
