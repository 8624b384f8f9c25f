"""The arrays of a store as values, and the zarr.json of each, as FORMAT.md specifies them. No I/O.

The members of zarr.json are those that zarr-python writes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numcodecs
import numpy as np

from data.choices import Compression

ZSTD_LEVEL = 1
BLOSC_NAME, BLOSC_LEVEL = "lz4", 5


@dataclass(frozen=True)
class ArraySpec:
    """One Zarr array, cut along axis 0 into chunks of `chunk_rows`; `fill` stands for entries never written."""

    name: str
    shape: tuple[int, ...]
    chunk_rows: int
    dtype: np.dtype[Any]  # little-endian
    fill: float | int
    dimensions: tuple[str, ...]
    compression: Compression = "none"
    attributes: dict[str, Any] = field(default_factory=dict)
    separator: Literal[".", "/"] = "."

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        """The shape of a chunk."""
        return (self.chunk_rows, *self.shape[1:])

    @property
    def n_chunks(self) -> int:
        """The number of chunks."""
        return -(-self.shape[0] // self.chunk_rows)

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a chunk's entries, uncompressed and without the checksum."""
        return math.prod(self.chunk_shape) * self.dtype.itemsize

    def chunk_key(self, index: int) -> str:
        """Return the path, in the array's folder, of the chunk that starts at row index × chunk_rows."""
        return self.separator.join(["c", str(index), *["0"] * (len(self.shape) - 1)])

    def in_one_chunk(self) -> ArraySpec:
        """Return the array as `finish` rewrites it: one chunk, in a file name that the unfinished form does not use."""
        return replace(self, chunk_rows=self.shape[0], separator=".")

    def compressor(self) -> numcodecs.abc.Codec | None:
        """Return numcodecs' codec for the compression between `bytes` and `crc32c`; None without compression."""
        if self.compression == "zstd":
            return numcodecs.Zstd(level=ZSTD_LEVEL)
        if self.compression == "blosc":
            return numcodecs.Blosc(cname=BLOSC_NAME, clevel=BLOSC_LEVEL, shuffle=numcodecs.Blosc.BITSHUFFLE)
        return None

    def metadata(self) -> dict[str, Any]:
        """Return the content of zarr.json."""
        fill = "NaN" if math.isnan(self.fill) else self.fill
        chunk_shape = {"chunk_shape": list(self.chunk_shape)}
        return {
            "zarr_format": 3, "node_type": "array",
            "shape": list(self.shape), "data_type": self.dtype.name, "fill_value": fill,
            "chunk_grid": {"name": "regular", "configuration": chunk_shape},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": self.separator}},
            "codecs": self._codecs(), "storage_transformers": [],
            "dimension_names": list(self.dimensions), "attributes": self.attributes,
        }  # fmt: skip

    def _codecs(self) -> list[dict[str, Any]]:
        middle: list[dict[str, Any]] = []
        if self.compression == "zstd":
            middle = [{"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": False}}]
        elif self.compression == "blosc":
            settings = {
                "cname": BLOSC_NAME, "clevel": BLOSC_LEVEL, "shuffle": "bitshuffle", "typesize": self.dtype.itemsize,
                "blocksize": 0,
            }  # fmt: skip
            middle = [{"name": "blosc", "configuration": settings}]
        bytes_codec: dict[str, Any] = {"name": "bytes"}
        if self.dtype.itemsize > 1:
            bytes_codec["configuration"] = {"endian": "little"}
        return [bytes_codec, *middle, {"name": "crc32c"}]


def group_json(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the content of the zarr.json of a Zarr group."""
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes}
