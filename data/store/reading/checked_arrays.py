"""The arrays of one store, each file compared with its recorded checksum the first time that it is read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.errors import DamagedError
from data.permutation import Int
from data.store.chunks import ArrayFile, array_in_either_form
from data.store.group_metadata import GroupMetadata
from data.system.file_cache import FileCache
from data.system.location import Location, is_local


class CheckedArrays:
    """Reads the arrays of a store. Every method raises DamagedError, naming the file, if one is missing or changed."""

    def __init__(self, store: Location, metadata: GroupMetadata, cache: FileCache | None) -> None:
        self.store, self.metadata, self.schema = store, metadata, metadata.schema
        self.cache = None if is_local(store) else cache
        self._opened: dict[str, ArrayFile] = {}
        self._checked: set[tuple[str, int]] = set()  # array and chunk

    def array(self, name: str) -> ArrayFile:
        """Return an array; its zarr.json is compared with the schema the first time."""
        if name in self._opened:
            return self._opened[name]
        spec = self.schema.arrays[name]
        if name in self.schema.per_window_arrays:
            array = array_in_either_form(self.store, spec)
            if not self.metadata.complete:
                return array  # not kept, because the harvest may rewrite it
            if array.spec != spec.in_one_chunk():
                raise DamagedError(f"{array.path / 'zarr.json'} is damaged: it is not that of a complete store")
        else:
            array = ArrayFile(self.store / name, spec)
            array.check_metadata()
        self._opened[name] = array
        return array

    def chunk(self, name: str, index: int, checksum: int) -> NDArray[Any]:
        """Return a chunk that must have `checksum`: an array [chunk_shape], memory-mapped if possible.

        A file on a disk or in the cache is checked once. A file from an object store is checked each time, because each
        copy may differ.
        """
        array = self.array(name)
        if self.cache is not None:
            return array.decode(self._cached_bytes(self.cache, array, index, checksum), index)
        stored = array.stored_bytes(index)
        if (name, index) not in self._checked or not is_local(self.store):
            array.check(stored, index, checksum)
            self._checked.add((name, index))
        return array.decode(stored, index)

    def _cached_bytes(self, cache: FileCache, array: ArrayFile, index: int, checksum: int) -> NDArray[np.uint8]:
        """Return the bytes of a chunk file, a private memory map of its copy in the cache, which is made if missing."""
        copy = cache.path(self.store, f"{array.spec.name}/{array.spec.chunk_key(index)}", checksum)
        stored = self._copied_bytes(cache, array, index, checksum, copy)
        if stored is not None:
            return stored
        with cache.filling(copy):
            stored = self._copied_bytes(cache, array, index, checksum, copy)
            if stored is not None:  # another thread or process has made it meanwhile
                return stored
            stored = array.stored_bytes(index)
            array.check(stored, index, checksum)
            self._checked.add((array.spec.name, index))
            return cache.put(copy, stored)

    def _copied_bytes(
        self, cache: FileCache, array: ArrayFile, index: int, checksum: int, copy: Path
    ) -> NDArray[np.uint8] | None:
        """Return the bytes of a copy; None if it is missing, or damaged, which standard error reports."""
        if not cache.touch(copy):
            return None
        try:
            stored = array.stored_bytes(index, copy=copy)
            if (array.spec.name, index) not in self._checked:
                array.check(stored, index, checksum)
                self._checked.add((array.spec.name, index))
        except DamagedError:
            if copy.exists():  # otherwise another process has removed it
                copy.unlink(missing_ok=True)
                print(f"{copy} is damaged; it is fetched again", file=sys.stderr)
            return None
        return stored

    def initial_chunk(self, name: str, index: int) -> NDArray[Any]:
        """Return a chunk of one of the arrays that are complete from the start: an array [chunk_shape]."""
        return self.chunk(name, index, self.metadata.checksums[name][index])

    def initial_rows(self, name: str, rows: Int | None) -> NDArray[Any]:
        """Return rows, int64 [n], of such an array, [n, …] of its type; all rows for None."""
        spec = self.schema.arrays[name]
        if rows is None:
            parts = [self.initial_chunk(name, chunk) for chunk in range(spec.n_chunks)]
            return np.concatenate(parts)[: spec.shape[0]]
        rows = np.asarray(rows, dtype=np.int64)
        out = np.empty((len(rows), *spec.shape[1:]), dtype=spec.dtype)
        chunks = rows // spec.chunk_rows
        for chunk in np.unique(chunks):
            in_chunk = chunks == chunk
            out[in_chunk] = self.initial_chunk(name, int(chunk))[rows[in_chunk] % spec.chunk_rows]
        return out
