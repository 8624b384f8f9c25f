"""The unfinished files of one window: its rows, a file per array and shard, before they are committed.

    write   append rows to ARRAY.SHARD (appended_files.py), and add them to its checksum; nobody else reads these files
    record  every few seconds: sync the files, then record how many contexts they hold (progress.py)

A kill loses the work since the last record. Rows that change on the disk between a kill and the next start are noticed
by their checksums then.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.errors import DamagedError
from data.permutation import Int
from data.store.chunks import crc32c, trailer
from data.store.encodings import EncodedRows
from data.store.layout import RowRange
from data.store.schema import Schema
from data.store.writing.appended_files import AppendedFiles
from data.store.writing.progress import WindowProgress
from data.system.limits import disk_threads
from data.system.location import file_size, sync_data, sync_directory, write_file

SYNC_THREADS = 16  # concurrent syncs share the file system's journal commits
PROGRESS = "progress.npz"


class StagedFiles:
    """The files in `folder`, of a window's `shards`.

    channel_scales: hook → the type's scales per channel. appended: how the files are written. is_sealed: whether an
    array's shard has already been moved into the store.
    """

    def __init__(
        self, folder: Path, schema: Schema, shards: range,
        channel_scales: Mapping[str, tuple[NDArray[np.float32], ...]], appended: AppendedFiles,
        is_sealed: Callable[[str, int], bool],
    ) -> None:  # fmt: skip
        self.folder, self.schema, self._appended = folder, schema, appended
        self.progress = WindowProgress(schema, shards)
        self._channel_scales, self._is_sealed = channel_scales, is_sealed
        self._unsynced: set[Path] = set()

    def path(self, name: str, shard: int) -> Path:
        """Return the file of an array's shard."""
        return self.folder / f"{name}.{shard}"

    def written(self, name: str, shard: int) -> tuple[int, int]:
        """Return how many rows a file has, and their CRC-32C."""
        index, written = shard - self.progress.shards.start, self.progress.written
        return int(written.count[name][index]), int(written.checksum[name][index])

    def resume(self) -> int:
        """Continue with the files as recorded; return the number of the first context to write.

        Raises DamagedError if they are not as recorded.
        """
        try:
            contexts_done = self.progress.load(self.folder / PROGRESS)
        except FileNotFoundError:
            return 0
        files = [(name, shard) for name in self.schema.activation_arrays for shard in self.progress.shards]
        with ThreadPoolExecutor(disk_threads()) as pool:
            list(pool.map(lambda file: self.check(*file), files))
        return contexts_done

    def check(self, name: str, shard: int) -> None:
        """Raise DamagedError if a file does not begin with the rows that were written, and is not sealed either."""
        path, (n_rows, checksum) = self.path(name, shard), self.written(name, shard)
        if os.path.lexists(path) or not self._is_sealed(name, shard):
            self.check_size(name, shard, n_rows)
            if n_rows and crc32c(self.rows(name, shard, n_rows)) != checksum:
                raise DamagedError(f"{path} is damaged: its rows are not those that were written")

    def check_size(self, name: str, shard: int, n_rows: int) -> None:
        """Raise DamagedError if a file is not an ordinary one with at least `n_rows` rows."""
        path = self.path(name, shard)
        dtype, d = self.schema.activation_arrays[name]
        try:
            size = -1 if path.is_symlink() else file_size(path) if n_rows else 0
        except FileNotFoundError as error:
            raise DamagedError(f"{path} is missing") from error
        except OSError as error:
            raise DamagedError(f"{path} cannot be read ({error.strerror or error})") from error
        if size < n_rows * d * dtype.itemsize:
            raise DamagedError(f"{path} is damaged: it does not have the rows that were written to it")

    def rows(self, name: str, shard: int, n_rows: int) -> NDArray[Any]:
        """Map the first rows of a file: [n_rows, d]."""
        dtype, d = self.schema.activation_arrays[name]
        return np.memmap(self.path(name, shard), dtype=dtype, mode="r", shape=(n_rows, d))

    def write(self, ranges: list[RowRange], arrays: Mapping[str, NDArray[Any]], threads: Executor | None = None) -> int:
        """Append rows to the files, on `threads` if given; return the number of bytes. See `WindowWriter.write`."""
        run = threads.map if threads else map
        return sum(run(lambda name: self._write_array(ranges, name, arrays[name]), arrays))

    def add_statistics(self, rows: Int, ranges: list[RowRange], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Add rows to the statistics. See `WindowWriter.add_statistics`."""
        first = self.schema.at_first_position(rows)
        for hook in self.schema.hooks:
            self._add_hook(hook, ranges, first, arrays)

    def _add_hook(
        self, hook: str, ranges: list[RowRange], first: NDArray[np.bool_], arrays: Mapping[str, NDArray[Any]]
    ) -> None:
        encoding = self.schema.encoding
        scales = tuple(arrays[hook + suffix][:, 0] for suffix in encoding.row_scales)
        encoded, begin = EncodedRows(arrays[hook], scales, self._channel_scales[hook]), 0
        for row_range in ranges:
            part = slice(begin, begin + row_range.count)
            self.progress.sums(hook, row_range.shard).add(encoding.decode(encoded[part]), first[part])
            begin += row_range.count

    def _write_array(self, ranges: list[RowRange], name: str, rows: NDArray[Any]) -> int:
        size = rows.nbytes // len(rows)
        data, written = as_bytes(rows), self.progress.written
        begin = 0
        for row_range in ranges:
            path, index = self.path(name, row_range.shard), row_range.shard - self.progress.shards.start
            n_rows, checksum = self.written(name, row_range.shard)
            if row_range.offset != n_rows:
                raise AssertionError(f"row {row_range.offset} of {path.name} is written, after {n_rows}")
            part = data[begin : begin + row_range.count * size]
            self._appended.append(path, part, row_range.offset * size)
            written.count[name][index] = n_rows + row_range.count
            written.checksum[name][index] = crc32c(part, checksum)
            self._unsynced.add(path)
            begin += row_range.count * size
        return begin

    def record(self, contexts_done: int) -> Callable[[], None]:
        """Return a function that makes the rows written so far durable, and records them.

        They are all rows of the contexts before `contexts_done`. A thread may call the function while another one
        writes more rows; functions of one window must be called in their order.
        """
        self._appended.flush()
        unsynced, self._unsynced = self._unsynced, set()
        content = self.progress.content(contexts_done)

        def make_durable() -> None:
            with ThreadPoolExecutor(SYNC_THREADS) as pool:
                list(pool.map(sync_file, unsynced))
            sync_directory(self.folder)
            write_file(self.folder / PROGRESS, content, trailer(crc32c(content)))

        return make_durable


def as_bytes(array: NDArray[Any]) -> memoryview:
    """Return an array's bytes in C order."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def sync_file(path: Path) -> None:
    """Make a file's bytes durable."""
    fd = os.open(path, os.O_WRONLY)
    try:
        sync_data(fd)
    finally:
        os.close(fd)
