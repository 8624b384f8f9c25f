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
from functools import cached_property
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
from crc32c import crc32c as extend_crc32c
from numpy.typing import NDArray

from data.errors import DamagedError, StoreError
from data.location import Location, exists, file_bytes, write_file

TRAILER_BYTES = 4
BLOCK_ENTRIES = 512 << 10  # with fewer, threads wait for the interpreter; with more, float64 leaves the caches


def crc32c(data: NDArray[Any] | bytes, value: int = 0) -> int:
    """CRC-32C (Castagnoli) of the bytes of a contiguous array, continuing from `value`."""
    return int(extend_crc32c(np.frombuffer(data, dtype=np.uint8).data, value))


def trailer(checksum: int) -> bytes:
    return checksum.to_bytes(TRAILER_BYTES, "little")


def write_json(path: Location, value: Any, *, scratch: Path | None = None) -> None:
    write_file(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode(), scratch=scratch)


def write_chunk(path: Location, array: NDArray[Any], *, scratch: Path | None = None) -> int:
    """Write a small uncompressed chunk; returns its checksum."""
    data = np.ascontiguousarray(array).tobytes()
    checksum = crc32c(data)
    write_file(path, data, trailer(checksum), scratch=scratch)
    return checksum


@dataclass(frozen=True)
class ArrayFile:
    """One Zarr array of a store, read without zarr: the subset of Zarr v3 that FORMAT.md allows."""

    path: Location

    @cached_property
    def metadata(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.path / "zarr.json").read_bytes()))
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.path} is not a readable Zarr array ({error}); is the store complete?") from error

    @cached_property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.metadata["shape"])

    @cached_property
    def chunk_shape(self) -> tuple[int, ...]:
        return tuple(self.metadata["chunk_grid"]["configuration"]["chunk_shape"])

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.metadata["data_type"]).newbyteorder("<")

    @cached_property
    def fill_value(self) -> Any:
        value = self.metadata["fill_value"]
        return np.nan if value == "NaN" else value

    @cached_property
    def compressor(self) -> numcodecs.abc.Codec | None:
        """The codec between `bytes` and `crc32c`, if any."""
        middle = [c for c in self.metadata["codecs"] if c["name"] not in ("bytes", "crc32c")]
        return make_compressor(middle[0]) if middle else None

    @property
    def n_chunks(self) -> int:
        return -(-self.shape[0] // self.chunk_shape[0])

    def chunk_key(self, index: int) -> str:
        """File, in the array's folder, of the chunk that starts at row index × chunk_shape[0].

        Arrays are chunked along axis 0 only.
        """
        encoding = self.metadata["chunk_key_encoding"]
        separator = encoding.get("configuration", {}).get("separator", "/")
        return separator.join(["c", str(index), *["0"] * (len(self.shape) - 1)])

    def chunk_path(self, index: int) -> Location:
        return self.path / self.chunk_key(index)

    def stored_bytes(self, index: int) -> NDArray[np.uint8]:
        """A chunk file as it is, trailer included: a private map, or memory where it lies in an object store."""
        return file_bytes(self.chunk_path(index))

    def chunk(self, index: int, *, check: bool = False) -> NDArray[Any]:
        """A chunk as an array [chunk_shape]: a private memory map, or memory where there is nothing to map.

        Raises DamagedError where the file is missing, short, or (with `check`) fails its checksum.
        """
        path = self.chunk_path(index)
        try:
            stored = self.stored_bytes(index)
        except (OSError, ValueError) as error:
            raise DamagedError(f"{path} cannot be read ({error}); `analyze verify` lists what is damaged") from error
        if check:
            found, recorded = file_checksums(stored)
            if found != recorded:
                raise DamagedError(f"{path} is damaged: its checksum is {found:08x}, its trailer says {recorded:08x}")
        return self.decode(stored, index)

    def decode(self, stored: NDArray[np.uint8], index: int) -> NDArray[Any]:
        """A chunk file's bytes as an array [chunk_shape]: the same memory, unless the array is compressed.

        Raises DamagedError where they are too few or too many.
        """
        stored = stored[:-TRAILER_BYTES]
        expected = int(np.prod(self.chunk_shape)) * self.dtype.itemsize
        if self.compressor is not None:
            decoded = np.empty(expected, dtype=np.uint8)
            self.compressor.decode(np.ascontiguousarray(stored), out=decoded)
            stored = decoded
        if stored.nbytes != expected:
            raise DamagedError(
                f"{self.chunk_path(index)} holds {stored.nbytes} bytes where {expected} belong; it is damaged"
            )
        return stored.view(self.dtype).reshape(self.chunk_shape)

    def read(self) -> NDArray[Any]:
        """The whole array, checked, with the fill value where a chunk is missing: for small arrays."""
        whole = np.full(self.shape, self.fill_value, dtype=self.dtype)
        for index in range(self.n_chunks):
            if exists(self.chunk_path(index)):
                begin = index * self.chunk_shape[0]
                part = whole[begin : begin + self.chunk_shape[0]]
                part[...] = self.chunk(index, check=True)[: len(part)]
        return whole

    def rows(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """Rows by number, for arrays whose chunks are all there: [len(index), …]."""
        out = np.empty((len(index), *self.shape[1:]), dtype=self.dtype)
        which = index // self.chunk_shape[0]
        for chunk in np.unique(which):
            here = which == chunk
            out[here] = self.chunk(int(chunk))[index[here] % self.chunk_shape[0]]
        return out


def file_checksums(stored: NDArray[np.uint8]) -> tuple[int, int]:
    """(computed, recorded) checksums of a chunk file's bytes, trailer included."""
    return crc32c(stored[:-TRAILER_BYTES]), int.from_bytes(stored[-TRAILER_BYTES:].tobytes(), "little")


def blocks(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Cut an array along axis 0 into parts of about `BLOCK_ENTRIES`."""
    step = max(1, BLOCK_ENTRIES // max(array[:1].size, 1))
    for begin in range(0, len(array), step):
        yield array[begin : begin + step]


def make_compressor(codec: dict[str, Any]) -> numcodecs.abc.Codec:
    """numcodecs' codec for a Zarr v3 codec description (`zstd` or `blosc`)."""
    settings = codec["configuration"]
    if codec["name"] == "zstd":
        return numcodecs.Zstd(level=settings["level"])
    if codec["name"] == "blosc":
        shuffle = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}[settings["shuffle"]]
        return numcodecs.Blosc(cname=settings["cname"], clevel=settings["clevel"], shuffle=shuffle)
    raise StoreError(
        f"the store uses the codec {codec['name']!r}, which this version cannot read; FORMAT.md lists them"
    )
