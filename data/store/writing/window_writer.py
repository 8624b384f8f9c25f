"""Write one window of a store: its rows to staged files, which are then checked and committed ("sealed").

    write   pwrite rows to OUT.partial/window-W/ARRAY.SHARD, each file from front to back; nobody reads these files
    sync    every few seconds: sync the files, then record in progress.json how many contexts they hold, and the number
            of rows and the checksum of each file
    seal    per file: pad, compute checksum and statistics, sync, and rename into the store (or put into an object
            store); then write the window's statistics; last, its lines of the commit table, which make the shards exist

Checksums are computed while rows are written, and compared when they are sealed. Rows that changed on the disk between
a kill and the next start are therefore not sealed, but harvested again.

A kill loses the work since the last record. A kill during sealing loses nothing: sealing resumes with the files that
are still staged. Files for an object store stay staged until their window is committed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.errors import DamagedError, StoreError, WindowDamagedError
from data.permutation import Int
from data.store import stats
from data.store.chunks import TRAILER_BYTES, ArrayFile, blocks, checksum_of, crc32c, trailer, write_chunk, write_json
from data.store.commit_table import commit_line
from data.store.encodings import EncodedRows
from data.store.layout import SPLITS, RowRange, ShardAssignment
from data.store.schema import (
    COMMIT,
    CONTEXT,
    POSITION,
    STATS_FIELDS,
    Schema,
    stats_name,
)
from data.store.sealed import read_sealed, sealed
from data.system.location import (
    Location,
    exists,
    file_size,
    is_local,
    publish_file,
    remove,
    sync_data,
    sync_directory,
    transfers,
    write_file,
)

SYNC_THREADS = 16  # concurrent syncs share the file system's journal commits


class Written(NamedTuple):
    """How many rows a staged file has, from its front, and their CRC-32C."""

    n_rows: int
    checksum: int


class WindowWriter:
    """Writes the rows of one window, for one worker.

    store, staging: the store and the folder of its unfinished parts. The window's staged files lie in `folder`.
    """

    def __init__(self, store: Location, staging: Path, schema: Schema, window: int) -> None:
        self.store, self.schema, self.window = store, schema, window
        self._arrays: dict[str, ArrayFile] = {}
        # The folder's name has a hash of the store's attributes, because a store that was replaced from another machine
        # may have left a folder for the same window.
        identity = hashlib.sha256((store / "zarr.json").read_bytes()).hexdigest()
        self.folder = staging / f"window-{window}-{identity[:16]}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._unsynced: set[Path] = set()
        self._written: dict[str, Written] = {}  # by file name

    def resume(self) -> int:
        """Continue with the staged files of a stopped harvest; return the number of the first context to write.

        Raises WindowDamagedError, after discarding the window, if the files are not as recorded.
        """
        try:
            progress = read_sealed(self.folder / "progress.json")
        except FileNotFoundError:
            return 0
        except StoreError as error:
            raise self._discarded(error) from error
        written = {name: Written(*pair) for name, pair in progress["written"].items()}
        for name, recorded in written.items():
            try:
                self._check_file(self.folder / name, recorded.n_rows)
            except DamagedError as error:
                raise self._discarded(error) from error
        self._written = written
        return int(progress["contexts"])

    def write(self, ranges: list[RowRange], arrays: Mapping[str, NDArray[Any]], threads: Executor | None = None) -> int:
        """Write rows to the staged files, on `threads` if given; return the number of bytes.

        `ranges` and the order of the rows are those of `Layout.writing_order`. arrays: name → rows [n, d] in the type
        on disk, for each of `Schema.activation_arrays`.
        """
        run = threads.map if threads else map
        return sum(run(lambda name: self._write_array(ranges, name, arrays[name]), arrays))

    def _write_array(self, ranges: list[RowRange], name: str, rows: NDArray[Any]) -> int:
        size = rows.nbytes // len(rows)
        data = as_bytes(rows)
        begin = 0
        for row_range in ranges:
            path = self._staged(name, row_range.shard)
            n_rows, checksum = self._written.get(path.name, Written(0, 0))
            if row_range.offset != n_rows:
                raise AssertionError(f"row {row_range.offset} of {path.name} is written, after {n_rows}")
            part = data[begin : begin + row_range.count * size]
            _pwrite(path, part, row_range.offset * size)
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

    def seal(self) -> None:
        """Check the full window and commit its shards. May be called again after a kill.

        Raises WindowDamagedError, after discarding the window, if its rows are not those that were written.
        """
        table = np.zeros((self.shards_per_chunk, len(self.schema.commit_columns)), dtype=np.int64)
        shard_stats: list[dict[str, stats.NormStats]] = []
        try:
            with ThreadPoolExecutor(transfers(self.store)) as pool:
                sealed_shards = pool.map(lambda shard: self._seal_shard(*shard), self._shards())
                for i, (line, by_hook) in enumerate(sealed_shards):
                    table[i] = line
                    shard_stats.append(by_hook)
        except WindowDamagedError as error:
            raise self._discarded(error) from error
        for name in self.schema.per_shard_arrays:
            sync_directory(self.store / name)
        for hook in self.schema.hooks:
            for field in STATS_FIELDS:
                values = np.stack([getattr(by_hook[hook], field) for by_hook in shard_stats])
                padding = [(0, self.shards_per_chunk - len(values))] + [(0, 0)] * (values.ndim - 1)
                self._write_small(stats_name(hook, field), np.pad(values, padding))
        self._write_small(COMMIT, table)
        shutil.rmtree(self.folder)

    @property
    def shards_per_chunk(self) -> int:
        """Lines per chunk of the commit table and the statistics, while the store is unfinished."""
        return min(self.schema.layout.shards_per_window, self.schema.layout.n_shards)

    def _array(self, name: str) -> ArrayFile:
        return self._arrays.setdefault(name, ArrayFile(self.store / name, self.schema.arrays[name]))

    def _write_small(self, name: str, values: NDArray[Any]) -> None:
        write_chunk(self._array(name).chunk_path(self.window), values, scratch=self.folder)

    def _shards(self) -> Iterator[tuple[ShardAssignment, int, Int]]:
        """Yield the window's shards in order, each with its assignment and its rows, int64 [rows]."""
        for assignment in self.schema.layout.assignments(self.window):
            origin = assignment.rows_of_rounds(0, assignment.n_rounds)
            for j in range(assignment.n_shards):
                rows = origin[:, j]
                yield assignment, assignment.first_shard + j, rows[rows >= 0]

    def _seal_shard(self, assignment: ShardAssignment, shard: int, rows: Int) -> tuple[Int, dict[str, stats.NormStats]]:
        """Seal one shard of every array; return its line of the commit table and the statistics of each hook."""
        schema = self.schema
        context, position = np.divmod(rows, schema.layout.rows_per_context)
        position += schema.skip_positions
        first = position == 0
        checksums: dict[str, int] = {}
        by_hook: dict[str, stats.NormStats] = {}
        for hook in schema.hooks:
            by_hook[hook], hook_checksums = self._seal_hook(hook, shard, first)
            checksums |= hook_checksums
        for name, values, dtype in ((CONTEXT, context, "<i4"), (POSITION, position, "<i4")):
            whole = np.full(schema.layout.rows_per_shard, -1, dtype=dtype)
            whole[: len(values)] = values
            checksums[name] = write_chunk(self._array(name).chunk_path(shard), whole, scratch=self.folder)
        for hook in schema.hooks:
            checksums[stats_name(hook)] = checksum_of(*(getattr(by_hook[hook], field) for field in STATS_FIELDS))
        split = SPLITS.index(assignment.split)
        return commit_line(schema, rows=len(rows), split=split, window=self.window, checksums=checksums), by_hook

    def _seal_hook(self, hook: str, shard: int, first: NDArray[np.bool_]) -> tuple[stats.NormStats, dict[str, int]]:
        """Seal one shard of one hook, reading it once; return its statistics and the checksums of its arrays."""
        schema, n_rows = self.schema, len(first)
        encoding, checksums = schema.encoding, {}
        row_scales = []
        for name in (hook + suffix for suffix in encoding.row_scales):
            source = self._raw(name, shard, n_rows)
            self._compare(name, shard, n_rows, crc32c(source[:n_rows]))
            row_scales.append(np.array(source[:n_rows, 0]))
            checksums[name] = self._publish(name, shard, source, crc32c(source))
        channel_scales = tuple(self._array(name).chunk(0) for name in schema.channel_arrays(hook))
        source = self._raw(hook, shard, n_rows)
        checksum, accumulator, begin = 0, stats.Accumulator(schema.widths[hook]), 0
        for block in blocks(source[:n_rows]):
            checksum = crc32c(block, checksum)
            part = slice(begin, begin + len(block))
            rows = EncodedRows(block, tuple(scale[part] for scale in row_scales), channel_scales)
            accumulator.add(encoding.decode(rows), first[part])
            begin += len(block)
        self._compare(hook, shard, n_rows, checksum)
        checksums[hook] = self._publish(hook, shard, source, crc32c(source[n_rows:], checksum))
        return accumulator.stats(), checksums

    def _staged(self, name: str, shard: int) -> Path:
        return self.folder / f"{name}.{shard}"

    def _raw(self, name: str, shard: int, n_rows: int) -> NDArray[Any]:
        """Return a shard's uncompressed rows, padded: [rows_per_shard, d], from the staged file or from the store."""
        array = self._array(name)
        dtype, d = self.schema.activation_arrays[name]
        staged, rows_per_shard = self._staged(name, shard), self.schema.layout.rows_per_shard
        try:
            if not os.path.lexists(staged):  # a kill came after this file was sealed
                return array.chunk(shard).reshape(rows_per_shard, d)
            self._check_file(staged, n_rows)
        except DamagedError as error:
            raise WindowDamagedError(str(error)) from error
        if n_rows < rows_per_shard:
            padding = np.full((rows_per_shard - n_rows, d), array.spec.fill, dtype=dtype)
            _pwrite(staged, as_bytes(padding), n_rows * d * dtype.itemsize)
        return np.memmap(staged, dtype=dtype, mode="r", shape=(rows_per_shard, d))

    def _compare(self, name: str, shard: int, n_rows: int, checksum: int) -> None:
        """Raise WindowDamagedError if a staged file's rows do not have the checksum with which they were written."""
        path = self._staged(name, shard)
        if self._written.get(path.name) != Written(n_rows, checksum):
            raise WindowDamagedError(f"{path} is damaged: its rows are not those that were written")

    def _check_file(self, path: Path, n_rows: int) -> None:
        """Raise DamagedError if a staged file is not an ordinary file with at least `n_rows` rows."""
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

    def _is_sealed(self, name: str) -> bool:
        """Return whether a staged file has already been moved into the store."""
        array, _, shard = name.rpartition(".")
        return exists(self._array(array).chunk_path(int(shard)))

    def _discarded(self, why: StoreError) -> WindowDamagedError:
        """Remove the staged files, and return the error to raise."""
        remove(self.folder)
        return WindowDamagedError(f"{why}; window {self.window} is harvested again")

    def _publish(self, name: str, shard: int, source: NDArray[Any], checksum: int) -> int:
        """Move a staged shard into the store, compressed if the schema says so; return the chunk's checksum."""
        array = self._array(name)
        staged, target = self._staged(name, shard), array.chunk_path(shard)
        if not staged.exists():
            return int.from_bytes(array.stored_bytes(shard)[-TRAILER_BYTES:].tobytes(), "little")
        compressor = array.spec.compressor()
        if compressor is not None:
            data = compressor.encode(np.ascontiguousarray(source))
            checksum = crc32c(data)
            write_file(target, data, trailer(checksum), scratch=self.folder)
            if is_local(self.store):
                staged.unlink()
            return checksum
        _pwrite(staged, memoryview(trailer(checksum)), source.nbytes)
        publish_file(staged, target)
        return checksum


def as_bytes(array: NDArray[Any]) -> memoryview:
    """Return an array's bytes in C order."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _pwrite(path: Path, data: memoryview, offset: int) -> None:
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
