"""The content of one window's staged files: rows and checksum of each file, and the statistics of each shard.

It is recorded in one file, an .npz archive followed by its CRC-32C, so that a stopped harvest continues with the sums
over the rows that it has.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.errors import DamagedError
from data.store.chunks import TRAILER_BYTES, crc32c, trailer
from data.store.schema import STATS_FIELDS, Schema
from data.store.stats import NormStats, RunningSums, empty

CONTEXTS = "contexts"


@dataclass(frozen=True)
class WrittenRows:
    """The number of rows in each staged file, from its front, and their CRC-32C: int64 [shards] each, by array."""

    count: dict[str, NDArray[np.int64]]
    checksum: dict[str, NDArray[np.int64]]


class WindowProgress:
    """The rows that a window's files have. `shards` are the window's shards."""

    def __init__(self, schema: Schema, shards: range) -> None:
        self.shards = shards
        n = len(shards)
        self.written = WrittenRows(
            *({name: np.zeros(n, dtype=np.int64) for name in schema.activation_arrays} for _ in range(2))
        )
        self._sums: dict[str, dict[str, NDArray[Any]]] = {
            hook: {field: np.stack([getattr(empty(d), field)] * n) for field in STATS_FIELDS}
            for hook, d in schema.widths.items()
        }

    def sums(self, hook: str, shard: int) -> RunningSums:
        """Return the sums over the rows that a shard has; adding rows to them changes this object."""
        return RunningSums(**{field: values[shard - self.shards.start] for field, values in self._sums[hook].items()})

    def arrays(self) -> dict[str, dict[str, NDArray[Any]]]:
        """Return the sums of all shards, in the order of `shards`: hook → field of RunningSums → [shards, …]."""
        return self._sums

    def stats(self, hook: str, shard: int) -> NormStats:
        """Return the statistics of the rows that a shard has."""
        return self.sums(hook, shard).stats()

    def content(self, contexts_done: int) -> memoryview:
        """Return the record of the present progress: all contexts before `contexts_done` are written.

        A file of it ends in its CRC-32C.
        """
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **{CONTEXTS: np.int64(contexts_done)}, **self._members())
        return content.getbuffer()

    def load(self, path: Path) -> int:
        """Continue with a recorded progress; return the number of contexts.

        Raises FileNotFoundError if there is none, DamagedError if it is damaged.
        """
        data = path.read_bytes()
        content, recorded = data[:-TRAILER_BYTES], data[-TRAILER_BYTES:]
        if trailer(crc32c(content)) != recorded:
            raise DamagedError(f"{path} is damaged: it does not have its checksum")
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            for name, values in self._members().items():
                values[...] = archive[name]
            return int(archive[CONTEXTS])

    def _members(self) -> dict[str, NDArray[np.generic]]:
        """Return all arrays of this object, by a name in the archive."""
        written = {
            f"{what} {name}": values
            for what, by_array in vars(self.written).items()
            for name, values in by_array.items()
        }
        return written | {
            f"{field} {hook}": values for hook, fields in self._sums.items() for field, values in fields.items()
        }
