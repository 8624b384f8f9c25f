"""What a store's arrays are called, and their shapes, types and attributes: FORMAT.md in code.

Not here: making them (skeleton.py), bytes (chunks.py), filling them (writer.py), reading them (reader.py).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from data import stats
from data.deal import Layout
from data.dtypes import DType, stored_dtype

VERSION = 1
Compression = Literal["none", "zstd", "blosc"]

CONTEXT, POSITION = "context", "position"
TOKENS, DOCUMENT, COMMIT = "tokens", "document", "commit"
N_COMMIT_FACTS = 3  # rows, split, window; then one checksum an array


def row_scale_name(hook: str) -> str:
    return f"{hook}.row_scale"


def channel_scale_name(hook: str) -> str:
    return f"{hook}.channel_scale"


@dataclass(frozen=True)
class Schema:
    """Everything that fixes the bytes of a store but the activations and tokens themselves."""

    layout: Layout
    widths: dict[str, int]  # hook name → d
    dtype: DType
    compression: Compression
    context_size: int
    skip_positions: int  # first positions of each context that are not stored

    @property
    def hooks(self) -> list[str]:
        return list(self.widths)

    @property
    def staged(self) -> dict[str, tuple[np.dtype[Any], int]]:
        """Arrays that the language model fills, one shard a chunk: name → (stored type, width)."""
        arrays = {hook: (stored_dtype(self.dtype), d) for hook, d in self.widths.items()}
        if self.dtype == "int8":
            arrays |= {row_scale_name(hook): (np.dtype("<f4"), 1) for hook in self.widths}
        return arrays

    @property
    def checked(self) -> list[str]:
        """Arrays with one chunk a shard, in the order of the commit table's checksum columns."""
        return [*self.staged, CONTEXT, POSITION]

    @property
    def commit_columns(self) -> list[str]:
        return ["rows", "split", "window", *(f"crc32c:{name}" for name in self.checked)]

    def to_json(self) -> dict[str, Any]:
        """As JSON; `widths` as pairs, because their order is the hooks' and JSON objects have none."""
        return {**asdict(self), "widths": [[hook, d] for hook, d in self.widths.items()]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Schema:
        return cls(**{**value, "layout": Layout(**value["layout"]), "widths": dict(value["widths"])})

    def shard_bytes(self) -> int:
        """Bytes of one shard of all arrays, uncompressed, with trailers."""
        staged = sum(dtype.itemsize * d for dtype, d in self.staged.values())
        return (staged + 4 + 2) * self.layout.rows_per_shard + 4 * len(self.checked)

    def total_bytes(self) -> int:
        """Bytes of the finished store, uncompressed; small metadata left out."""
        return self.layout.n_shards * self.shard_bytes() + 2 * 4 * self.layout.n_contexts * self.context_size

    def n_files(self) -> int:
        """About how many files the finished store has."""
        return self.layout.n_shards * len(self.checked) + 8 * len(self.widths) + 16


def codecs(compression: Compression, itemsize: int) -> list[dict[str, Any]]:
    """Codecs of an activation array, as Zarr v3 metadata: bytes, perhaps a compressor, crc32c."""
    middle: list[dict[str, Any]] = []
    if compression == "zstd":
        middle = [{"name": "zstd", "configuration": {"level": 1, "checksum": False}}]
    elif compression == "blosc":
        settings = {"cname": "lz4", "clevel": 5, "shuffle": "bitshuffle", "typesize": itemsize, "blocksize": 0}
        middle = [{"name": "blosc", "configuration": settings}]
    return [{"name": "bytes", "configuration": {"endian": "little"}}, *middle, {"name": "crc32c"}]


def stats_arrays(schema: Schema) -> list[tuple[str, tuple[int, ...], np.dtype[Any], dict[str, Any]]]:
    """(name, shape, type, attributes) of the statistics arrays; axis 0 is the shard, axis 1 the subset."""
    n = schema.layout.n_shards
    subsets = {"subsets": ["all", "without position 0"]}
    edges = {"first_edge_log2": stats.LOWEST_OCTAVE, "bins_per_octave": stats.BINS_PER_OCTAVE, **subsets}
    found: list[tuple[str, tuple[int, ...], np.dtype[Any], dict[str, Any]]] = []
    for hook, d in schema.widths.items():
        moments = {"entries": ["sum x", "sum x^2"], **subsets}
        norms = {"entries": ["count", "sum |x|_2", "sum |x|_2^2", "largest |entry|"], **subsets}
        found.append((f"stats/{hook}/moments", (n, 2, 2, d), np.dtype("<f8"), moments))
        found.append((f"stats/{hook}/norms", (n, 2, 4), np.dtype("<f8"), norms))
        found.append((f"stats/{hook}/histogram", (n, 2, stats.N_BINS), np.dtype("<i8"), edges))
    return found


def group(attributes: dict[str, Any]) -> dict[str, Any]:
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes}


def root_attributes(schema: Schema, provenance: dict[str, Any]) -> dict[str, Any]:
    return {
        "format": "activation-store", "version": VERSION, "complete": False,
        "schema": schema.to_json(), "provenance": provenance,
    }  # fmt: skip


def finish_attributes(schema: Schema, provenance: dict[str, Any], fingerprint: str) -> dict[str, Any]:
    return group({**root_attributes(schema, provenance), "complete": True, "fingerprint": fingerprint})


def fingerprint(commit: NDArray[np.int64], provenance: dict[str, Any]) -> str:
    """What identifies a store's content: SHA-256 of its commit table and its provenance, in hexadecimal."""
    digest = hashlib.sha256(np.ascontiguousarray(commit, dtype="<i8").tobytes())
    digest.update(json.dumps(provenance, sort_keys=True).encode())
    return digest.hexdigest()
