"""Write one window of a store: its rows to staged files (staged_files.py), which are then checked and committed.

    seal    per file: pad, compute checksum and statistics, sync, and rename into the store (or put into an object
            store); then write the window's statistics; last, its lines of the commit table, which make the shards exist

Rows are compared with the checksums of their writing when they are sealed. Those that changed on the disk meanwhile are
not sealed, but harvested again.

A kill during sealing loses nothing: sealing resumes with the files that are still staged. Files for an object store
stay staged until their window is committed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.errors import DamagedError, StoreError, WindowDamagedError
from data.permutation import Int
from data.store import stats
from data.store.chunks import TRAILER_BYTES, ArrayFile, blocks, checksum_of, crc32c, trailer, write_chunk
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
from data.store.writing.staged_files import StagedFiles, as_bytes, pwrite
from data.system.location import (
    Location,
    exists,
    is_local,
    publish_file,
    remove,
    sync_directory,
    transfers,
    write_file,
)


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
        self._files = StagedFiles(self.folder, schema, self._is_sealed)

    def resume(self) -> int:
        """Continue with the staged files of a stopped harvest; return the number of the first context to write.

        Raises WindowDamagedError, after discarding the window, if the files are not as recorded.
        """
        try:
            return self._files.resume()
        except StoreError as error:
            raise self._discarded(error) from error

    def write(self, ranges: list[RowRange], arrays: Mapping[str, NDArray[Any]], threads: Executor | None = None) -> int:
        """Write rows to the staged files, on `threads` if given; return the number of bytes.

        `ranges` and the order of the rows are those of `Layout.writing_order`. arrays: name → rows [n, d] in the type
        on disk, for each of `Schema.activation_arrays`.
        """
        return self._files.write(ranges, arrays, threads)

    def sync(self, contexts_done: int) -> None:
        """Make all written rows durable, then record that all contexts before `contexts_done` are."""
        self._files.sync(contexts_done)

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
            self._files.check_rows(name, shard, n_rows, crc32c(source[:n_rows]))
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
        self._files.check_rows(hook, shard, n_rows, checksum)
        checksums[hook] = self._publish(hook, shard, source, crc32c(source[n_rows:], checksum))
        return accumulator.stats(), checksums

    def _raw(self, name: str, shard: int, n_rows: int) -> NDArray[Any]:
        """Return a shard's uncompressed rows, padded: [rows_per_shard, d], from the staged file or from the store."""
        array = self._array(name)
        dtype, d = self.schema.activation_arrays[name]
        staged, rows_per_shard = self._files.path(name, shard), self.schema.layout.rows_per_shard
        try:
            if not os.path.lexists(staged):  # a kill came after this file was sealed
                return array.chunk(shard).reshape(rows_per_shard, d)
            self._files.check_size(staged, n_rows)
        except DamagedError as error:
            raise WindowDamagedError(str(error)) from error
        if n_rows < rows_per_shard:
            padding = np.full((rows_per_shard - n_rows, d), array.spec.fill, dtype=dtype)
            pwrite(staged, as_bytes(padding), n_rows * d * dtype.itemsize)
        return np.memmap(staged, dtype=dtype, mode="r", shape=(rows_per_shard, d))

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
        staged, target = self._files.path(name, shard), array.chunk_path(shard)
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
        pwrite(staged, memoryview(trailer(checksum)), source.nbytes)
        publish_file(staged, target)
        return checksum
