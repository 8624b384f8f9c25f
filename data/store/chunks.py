"""Chunk files: raw bytes and their checksum, written and read without zarr.

The store's arrays use Zarr v3's `bytes` codec followed by `crc32c`: a chunk file is the array's bytes in C order,
little-endian, then the CRC-32C of them in 4 bytes. So the bytes can be mapped. (With compression there is a codec in
between, and the chunk is decoded instead.)

Not here: where files lie and how they get their names (location.py), what the arrays mean (schema.py), files that are
still being filled (staging.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from crc32c import crc32c as extend_crc32c
from numpy.typing import NDArray

from data.errors import DamagedError
from data.store.arrays import ArraySpec
from data.store.sealed import read_json
from data.system.location import Location, exists, file_bytes, file_size, write_file

TRAILER_BYTES = 4
LARGEST_HEADER = 1 << 16  # that a compressor may add to what it cannot compress
BLOCK_ENTRIES = 512 << 10  # with fewer, threads wait for the interpreter; with more, float64 leaves the caches


def crc32c(data: NDArray[Any] | bytes | memoryview, value: int = 0) -> int:
    """CRC-32C (Castagnoli) of the bytes of a contiguous array, continuing from `value`."""
    return int(extend_crc32c(np.frombuffer(data, dtype=np.uint8).data, value))


def checksum_of(*arrays: NDArray[Any]) -> int:
    """CRC-32C of the bytes of some arrays, one after another."""
    value = 0
    for array in arrays:
        value = crc32c(np.ascontiguousarray(array), value)
    return value


def trailer(checksum: int) -> bytes:
    return checksum.to_bytes(TRAILER_BYTES, "little")


def json_bytes(value: Any) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def write_json(path: Location, value: Any, *, scratch: Path | None = None) -> None:
    write_file(path, json_bytes(value), scratch=scratch)


def chunk_bytes(array: NDArray[Any]) -> tuple[bytes, int]:
    """What an uncompressed chunk file holds, and the checksum at its end."""
    data = np.ascontiguousarray(array).tobytes()
    checksum = crc32c(data)
    return data + trailer(checksum), checksum


def write_chunk(path: Location, array: NDArray[Any], *, scratch: Path | None = None) -> int:
    """Write a small uncompressed chunk; returns its checksum."""
    data, checksum = chunk_bytes(array)
    write_file(path, data, scratch=scratch)
    return checksum


@dataclass(frozen=True)
class ArrayFile:
    """One Zarr array of a store, read without zarr: the subset of Zarr v3 that FORMAT.md allows."""

    path: Location
    spec: ArraySpec

    def check_metadata(self) -> None:
        """Raise DamagedError where zarr.json is missing, or says something else than the schema."""
        file = self.path / "zarr.json"
        try:
            found = read_json(file)
        except FileNotFoundError as error:
            raise DamagedError(f"{file} is missing") from error
        if found != self.spec.metadata():
            raise DamagedError(f"{file} is damaged: it does not describe the array as the store's schema does")

    def chunk_path(self, index: int) -> Location:
        return self.path / self.spec.chunk_key(index)

    def stored_bytes(self, index: int) -> NDArray[np.uint8]:
        """A chunk file as it is, trailer included: a private map, or memory where it lies in an object store.

        Raises DamagedError where the file is missing, or has not the size that it must have.
        """
        path = self.chunk_path(index)
        try:
            if isinstance(path, Path):
                self._check_size(path, file_size(path))
            stored = file_bytes(path)
        except FileNotFoundError as error:
            raise DamagedError(f"{path} is missing") from error
        except (OSError, ValueError) as error:
            raise DamagedError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error})") from error
        self._check_size(path, stored.nbytes)
        return stored

    def _check_size(self, path: Location, size: int) -> None:
        expected = self.spec.chunk_bytes + TRAILER_BYTES
        if self.spec.compression == "none" and size != expected:
            raise DamagedError(f"{path} is damaged: it has {size} bytes, where {expected} belong")
        if not TRAILER_BYTES < size <= 2 * expected + LARGEST_HEADER:
            raise DamagedError(f"{path} is damaged: it has {size} bytes")

    def check(self, stored: NDArray[np.uint8], index: int, checksum: int | None = None) -> None:
        """Raise DamagedError where a chunk file's bytes do not have their trailer's checksum, or not `checksum`."""
        found, recorded = file_checksums(stored)
        for expected, source in ((recorded, "its trailer"), (checksum, "the store")):
            if expected is not None and found != expected:
                raise DamagedError(
                    f"{self.chunk_path(index)} is damaged: its checksum is {found:08x}, {source} says {expected:08x}"
                )

    def decode(self, stored: NDArray[np.uint8], index: int) -> NDArray[Any]:
        """A chunk file's bytes as an array [chunk_shape]: the same memory, unless the array is compressed.

        Raises DamagedError where they cannot be decompressed.
        """
        stored = stored[:-TRAILER_BYTES]
        compressor = self.spec.compressor()
        if compressor is not None:
            decoded = np.empty(self.spec.chunk_bytes, dtype=np.uint8)
            try:
                compressor.decode(np.ascontiguousarray(stored), out=decoded)
            except (RuntimeError, ValueError) as error:
                raise DamagedError(f"{self.chunk_path(index)} is damaged: it cannot be decompressed") from error
            stored = decoded
        return stored.view(self.spec.dtype).reshape(self.spec.chunk_shape)

    def chunk(self, index: int, *, checksum: int | None = None) -> NDArray[Any]:
        """A chunk as an array [chunk_shape], checked: a private memory map, or memory where there is nothing to map.

        Raises DamagedError where the file is missing, has the wrong size, or another checksum than its trailer or
        `checksum` says.
        """
        stored = self.stored_bytes(index)
        self.check(stored, index, checksum)
        return self.decode(stored, index)

    def read(self) -> NDArray[Any]:
        """The whole array, checked. Raises DamagedError where a chunk is missing or damaged."""
        parts = [self.chunk(index) for index in range(self.spec.n_chunks)]
        return np.concatenate(parts)[: self.spec.shape[0]]

    def read_present(self) -> NDArray[Any]:
        """The whole array, the chunks that are there checked, with the fill value where one is missing."""
        there = [index for index in range(self.spec.n_chunks) if exists(self.chunk_path(index))]
        whole = np.full(self.spec.shape, self.spec.fill, dtype=self.spec.dtype)
        for index in there:
            part = whole[index * self.spec.chunk_rows : (index + 1) * self.spec.chunk_rows]
            part[...] = self.chunk(index)[: len(part)]
        return whole


def growing_array(store: Location, spec: ArraySpec) -> ArrayFile:
    """An array that `finish` rewrites as one chunk, in the form that it has now.

    Raises DamagedError where it has neither.
    """
    array = ArrayFile(store / spec.name, spec)
    try:
        found = read_json(array.path / "zarr.json")
    except FileNotFoundError as error:
        raise DamagedError(f"{array.path / 'zarr.json'} is missing") from error
    whole = spec.in_one_chunk()
    if found == whole.metadata():
        return ArrayFile(array.path, whole)
    array.check_metadata()
    return array


def file_checksums(stored: NDArray[np.uint8]) -> tuple[int, int]:
    """(computed, recorded) checksums of a chunk file's bytes, trailer included."""
    return crc32c(stored[:-TRAILER_BYTES]), int.from_bytes(stored[-TRAILER_BYTES:].tobytes(), "little")


def blocks(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Cut an array along axis 0 into parts of about `BLOCK_ENTRIES`."""
    step = max(1, BLOCK_ENTRIES // max(array[:1].size, 1))
    for begin in range(0, len(array), step):
        yield array[begin : begin + step]
