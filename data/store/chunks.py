"""Chunk files, written and read without zarr: an array's bytes and their checksum.

The store's arrays use Zarr v3's `bytes` codec followed by `crc32c`. A chunk file is therefore the array's bytes in C
order, little-endian, then their CRC-32C in 4 bytes, and the bytes can be memory-mapped. A compressed array has one more
codec in between, and its chunks are decoded instead.
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
LARGEST_HEADER = 1 << 16  # bytes that a compressor may add to incompressible data
BLOCK_ENTRIES = 512 << 10  # smaller: threads wait for the interpreter lock; larger: float64 leaves the CPU caches


def crc32c(data: NDArray[Any] | bytes | memoryview, value: int = 0) -> int:
    """Return the CRC-32C (Castagnoli) of the bytes of a contiguous array, continuing from `value`."""
    return int(extend_crc32c(np.frombuffer(data, dtype=np.uint8).data, value))


def checksum_of(*arrays: NDArray[Any]) -> int:
    """Return the CRC-32C of the bytes of several arrays, one after another."""
    value = 0
    for array in arrays:
        value = crc32c(np.ascontiguousarray(array), value)
    return value


def trailer(checksum: int) -> bytes:
    """Return the last 4 bytes of a chunk file."""
    return checksum.to_bytes(TRAILER_BYTES, "little")


def json_bytes(value: Any) -> bytes:
    """Return a JSON file's content."""
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def write_json(path: Location, value: Any, *, scratch: Path | None = None) -> None:
    """Write a JSON file atomically (`write_file`)."""
    write_file(path, json_bytes(value), scratch=scratch)


def chunk_bytes(array: NDArray[Any]) -> tuple[bytes, int]:
    """Return the content of an uncompressed chunk file, and its checksum."""
    data = np.ascontiguousarray(array).tobytes()
    checksum = crc32c(data)
    return data + trailer(checksum), checksum


def write_chunk(path: Location, array: NDArray[Any], *, scratch: Path | None = None) -> int:
    """Write a small uncompressed chunk atomically; return its checksum."""
    data, checksum = chunk_bytes(array)
    write_file(path, data, scratch=scratch)
    return checksum


@dataclass(frozen=True)
class ArrayFile:
    """One Zarr array of a store in files, read without zarr: the subset of Zarr v3 that FORMAT.md allows."""

    path: Location
    spec: ArraySpec

    def check_metadata(self) -> None:
        """Raise DamagedError if zarr.json is missing or differs from the schema."""
        file = self.path / "zarr.json"
        try:
            metadata = read_json(file)
        except FileNotFoundError as error:
            raise DamagedError(f"{file} is missing") from error
        if metadata != self.spec.metadata():
            raise DamagedError(f"{file} is damaged: it does not describe the array as the store's schema does")

    def chunk_path(self, index: int) -> Location:
        """Return the file of a chunk."""
        return self.path / self.spec.chunk_key(index)

    def stored_bytes(self, index: int, *, copy: Path | None = None) -> NDArray[np.uint8]:
        """Return a chunk file's bytes, trailer included: a private memory map, or a copy from an object store.

        copy: where to read a local copy of the file. Raises DamagedError if the file is missing or has the wrong size.
        """
        path = copy or self.chunk_path(index)
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
        """Raise DamagedError if a chunk file's bytes do not have the checksum of their trailer, or not `checksum`."""
        computed, recorded = file_checksums(stored)
        for expected, source in ((recorded, "its trailer"), (checksum, "the store")):
            if expected is not None and computed != expected:
                raise DamagedError(
                    f"{self.chunk_path(index)} is damaged: its checksum is {computed:08x}, {source} says {expected:08x}"
                )

    def decode(self, stored: NDArray[np.uint8], index: int) -> NDArray[Any]:
        """Return a chunk file's bytes as an array [chunk_shape], in the same memory unless the array is compressed.

        Raises DamagedError if they cannot be decompressed.
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
        """Read and check a chunk: an array [chunk_shape], memory-mapped if the file is local and uncompressed.

        Raises DamagedError if the file is missing, or has the wrong size, or another checksum than its trailer or
        `checksum` says.
        """
        stored = self.stored_bytes(index)
        self.check(stored, index, checksum)
        return self.decode(stored, index)

    def read(self) -> NDArray[Any]:
        """Read and check the whole array. Raises DamagedError if a chunk is missing or damaged."""
        parts = [self.chunk(index) for index in range(self.spec.n_chunks)]
        return np.concatenate(parts)[: self.spec.shape[0]]

    def read_present(self) -> NDArray[Any]:
        """Read the whole array, with the fill value for missing chunks; check the others."""
        present = [index for index in range(self.spec.n_chunks) if exists(self.chunk_path(index))]
        whole = np.full(self.spec.shape, self.spec.fill, dtype=self.spec.dtype)
        for index in present:
            part = whole[index * self.spec.chunk_rows : (index + 1) * self.spec.chunk_rows]
            part[...] = self.chunk(index)[: len(part)]
        return whole


def array_in_either_form(store: Location, spec: ArraySpec) -> ArrayFile:
    """Return an array that `finish` rewrites as one chunk, in the form that it has on disk.

    Raises DamagedError if its zarr.json describes neither form.
    """
    array = ArrayFile(store / spec.name, spec)
    try:
        metadata = read_json(array.path / "zarr.json")
    except FileNotFoundError as error:
        raise DamagedError(f"{array.path / 'zarr.json'} is missing") from error
    whole = spec.in_one_chunk()
    if metadata == whole.metadata():
        return ArrayFile(array.path, whole)
    array.check_metadata()
    return array


def file_checksums(stored: NDArray[np.uint8]) -> tuple[int, int]:
    """Return the (computed, recorded) checksums of a chunk file's bytes, trailer included."""
    return crc32c(stored[:-TRAILER_BYTES]), int.from_bytes(stored[-TRAILER_BYTES:].tobytes(), "little")


def blocks(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Cut an array along axis 0 into parts of about BLOCK_ENTRIES entries."""
    step = max(1, BLOCK_ENTRIES // max(array[:1].size, 1))
    for begin in range(0, len(array), step):
        yield array[begin : begin + step]
