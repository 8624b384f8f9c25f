"""Write one window of a store: its rows to staged files (staged_files.py), which are then committed.

    seal    per file: pad, add the checksum, sync, and rename into the store (or put into an object store); then write
            the window's statistics; last, its lines of the commit table, which make the shards exist

Checksums and statistics are taken while rows are written, so sealing reads nothing back, except to compress.

A kill during sealing loses nothing: sealing resumes with the files that are still staged. Files for an object store
stay staged until their window is committed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numcodecs.abc import Codec
from numpy.typing import NDArray

from data.errors import DamagedError, StoreError, WindowDamagedError
from data.permutation import Int
from data.store.chunks import ArrayFile, checksum_of, crc32c, file_checksums, trailer, write_chunk
from data.store.commit_table import commit_line
from data.store.layout import SPLITS, RowRange, ShardAssignment
from data.store.schema import COMMIT, CONTEXT, POSITION, STATS_FIELDS, Schema, stats_name
from data.store.sealed import MOST_BYTES
from data.store.writing.appended_files import AppendedFiles, BufferedFiles, pwrite
from data.store.writing.staged_files import StagedFiles
from data.system.location import (
    Location,
    exists,
    is_local,
    publish_file,
    read_bytes,
    remove,
    sync_directory,
    transfers,
    write_file,
)


class WindowWriter:
    """Writes the rows of one window, for one worker.

    store, staging: the store and the folder of its unfinished parts. The window's staged files lie in `folder`, and are
    written by `files`.
    """

    def __init__(
        self, store: Location, staging: Path, schema: Schema, window: int, files: AppendedFiles | None = None
    ) -> None:
        self.store, self.schema, self.window = store, schema, window
        self._arrays: dict[str, ArrayFile] = {}
        # The folder's name has a hash of the store's attributes, because a store that was replaced from another machine
        # may have left a folder for the same window.
        identity = hashlib.sha256(read_bytes(store / "zarr.json", at_most=MOST_BYTES)).hexdigest()
        self.folder = staging / f"window-{window}-{identity[:16]}"
        self.folder.mkdir(parents=True, exist_ok=True)
        assignments = schema.layout.assignments(window)
        shards = range(assignments[0].first_shard, assignments[-1].first_shard + assignments[-1].n_shards)
        scales = {
            hook: tuple(self._array(name).chunk(0) for name in schema.channel_arrays(hook)) for hook in schema.hooks
        }
        self._files = StagedFiles(self.folder, schema, shards, scales, files or BufferedFiles(), self._is_sealed)

    def resume(self) -> int:
        """Continue with the staged files of a stopped harvest; return the number of the first context to write.

        Raises WindowDamagedError, after discarding the window, if the files are not as recorded.
        """
        try:
            return self._files.resume()
        except StoreError as error:
            raise self._discarded(error) from error

    @property
    def first_shard(self) -> int:
        """Number of the window's first shard."""
        return self._files.progress.shards.start

    @property
    def sums(self) -> dict[str, dict[str, NDArray[Any]]]:
        """The sums of the rows added so far: hook → field of RunningSums → array [shards, …]."""
        return self._files.progress.arrays()

    def write(self, ranges: list[RowRange], arrays: Mapping[str, NDArray[Any]], threads: Executor | None = None) -> int:
        """Write rows to the staged files, on `threads` if given; return the number of bytes.

        `ranges` and the order of the rows are those of `Layout.writing_order`. arrays: name → rows [n, d] in the type
        on disk, for each of `Schema.activation_arrays`. The same rows must be added to the statistics.
        """
        return self._files.write(ranges, arrays, threads)

    def add_statistics(self, rows: Int, ranges: list[RowRange], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Add rows that are written to the statistics; rows: int64 [n], their numbers.

        Another thread may write the same rows meanwhile.
        """
        self._files.add_statistics(rows, ranges, arrays)

    def set_sums(self, sums: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
        """Set the sums of all rows written so far, which were taken elsewhere; shaped as `sums`."""
        for hook, fields in sums.items():
            for field, values in fields.items():
                self.sums[hook][field][...] = values

    def sync(self, contexts_done: int) -> None:
        """Make all written rows durable, then record that all contexts before `contexts_done` are."""
        self.record(contexts_done)()

    def record(self, contexts_done: int) -> Callable[[], None]:
        """Return a function that does what `sync` does for the rows written so far; see `StagedFiles.record`."""
        return self._files.record(contexts_done)

    def seal(self) -> None:
        """Commit the shards of the full window. May be called again after a kill.

        Raises WindowDamagedError, after discarding the window, if a file is missing, or must be compressed and no
        longer has the rows that were written.
        """
        table = np.zeros((self.shards_per_chunk, len(self.schema.commit_columns)), dtype=np.int64)
        try:
            with ThreadPoolExecutor(transfers(self.store)) as pool:
                for i, line in enumerate(pool.map(lambda shard: self._seal_shard(*shard), self._shards())):
                    table[i] = line
        except DamagedError as error:
            raise self._discarded(error) from error
        for name in self.schema.per_shard_arrays:
            sync_directory(self.store / name)
        for hook in self.schema.hooks:
            by_shard = [self._files.progress.stats(hook, shard) for shard in self._files.progress.shards]
            for field in STATS_FIELDS:
                values = np.stack([getattr(shard_stats, field) for shard_stats in by_shard])
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

    def _seal_shard(self, assignment: ShardAssignment, shard: int, rows: Int) -> Int:
        """Seal one shard of every array; return its line of the commit table."""
        schema = self.schema
        context, position = np.divmod(rows, schema.layout.rows_per_context)
        position += schema.skip_positions
        checksums = {name: self._publish(name, shard, len(rows)) for name in schema.activation_arrays}
        for name, values, dtype in ((CONTEXT, context, "<i4"), (POSITION, position, "<i4")):
            whole = np.full(schema.layout.rows_per_shard, -1, dtype=dtype)
            whole[: len(values)] = values
            checksums[name] = write_chunk(self._array(name).chunk_path(shard), whole, scratch=self.folder)
        for hook in schema.hooks:
            shard_stats = self._files.progress.stats(hook, shard)
            if shard_stats.count() != len(rows):
                raise AssertionError(f"the statistics of {hook} cover {shard_stats.count()} of {len(rows)} rows")
            checksums[stats_name(hook)] = checksum_of(*(getattr(shard_stats, field) for field in STATS_FIELDS))
        split = SPLITS.index(assignment.split)
        return commit_line(schema, rows=len(rows), split=split, window=self.window, checksums=checksums)

    def _publish(self, name: str, shard: int, n_rows: int) -> int:
        """Move a staged shard into the store, padded, and compressed if the schema says so.

        Returns the chunk's checksum. Raises DamagedError if its rows are not there.
        """
        array, (written_rows, checksum) = self._array(name), self._files.written(name, shard)
        staged, target, compressor = self._files.path(name, shard), array.chunk_path(shard), array.spec.compressor()
        if written_rows != n_rows:
            raise AssertionError(f"{staged.name} is sealed with {written_rows} of {n_rows} rows")
        sealed = not os.path.lexists(staged) and self._is_sealed(name, shard)  # a kill came after it was
        if compressor is not None:
            if sealed:
                return file_checksums(array.stored_bytes(shard))[1]
            return self._publish_compressed(name, shard, n_rows, compressor)
        dtype, d = self.schema.activation_arrays[name]
        padding = np.full((self.schema.layout.rows_per_shard - n_rows, d), array.spec.fill, dtype=dtype)
        checksum = crc32c(padding, checksum)
        if not sealed:
            self._files.check_size(name, shard, n_rows)
            end = memoryview(padding.tobytes() + trailer(checksum))
            pwrite(staged, end, n_rows * d * dtype.itemsize)
            publish_file(staged, target)
        return checksum

    def _publish_compressed(self, name: str, shard: int, n_rows: int, compressor: Codec) -> int:
        """Write a staged shard's compressed chunk into the store; return its checksum."""
        array, staged = self._array(name), self._files.path(name, shard)
        dtype, d = self.schema.activation_arrays[name]
        whole = np.full((self.schema.layout.rows_per_shard, d), array.spec.fill, dtype=dtype)
        self._files.check(name, shard)
        whole[:n_rows] = self._files.rows(name, shard, n_rows)
        data = compressor.encode(whole)
        checksum = crc32c(data)
        write_file(array.chunk_path(shard), data, trailer(checksum), scratch=self.folder)
        if is_local(self.store):
            staged.unlink()
        return checksum

    def _is_sealed(self, name: str, shard: int) -> bool:
        """Return whether a staged file has already been moved into the store."""
        return exists(self._array(name).chunk_path(shard))

    def _discarded(self, why: StoreError) -> WindowDamagedError:
        """Remove the staged files, and return the error to raise."""
        remove(self.folder)
        return WindowDamagedError(f"{why}; window {self.window} is harvested again")
