"""The commit table: one line per shard, which says that the shard exists and gives the checksums of its chunks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from data.errors import DamagedError
from data.permutation import Int
from data.store.layout import SPLITS, Split
from data.store.schema import Schema
from data.system.location import Location

FACTS = ("rows", "split", "window")  # the first columns; checksums follow


@dataclass(frozen=True)
class CommitTable:
    """values: int64 [n_shards, columns], as stored; `Schema.commit_columns` names the columns.

    A shard that does not exist yet has 0 in all columns.
    """

    schema: Schema
    values: Int

    @property
    def rows(self) -> Int:
        """Number of rows of each shard, 0 for one that is not committed: int64 [n_shards]."""
        return self.values[:, 0]

    @property
    def split(self) -> Int:
        """Index in SPLITS of each shard's split: int64 [n_shards]."""
        return self.values[:, 1]

    @property
    def window(self) -> Int:
        """Window of each shard: int64 [n_shards]."""
        return self.values[:, 2]

    @property
    def committed(self) -> list[int]:
        """The shards that exist."""
        return [int(shard) for shard in np.flatnonzero(self.rows)]

    @property
    def committed_windows(self) -> set[int]:
        """The windows with a shard that exists; a worker commits all shards of a window at once."""
        return {shard // self.schema.layout.shards_per_window for shard in self.committed}

    def shards(self, split: Split) -> list[int]:
        """Return the shards of a split that exist."""
        return [int(shard) for shard in np.flatnonzero((self.rows > 0) & (self.split == SPLITS.index(split)))]

    def checksum(self, name: str, shard: int) -> int:
        """Return the CRC-32C of a shard's chunk of array `name`, or of its line of the statistics `stats/HOOK`."""
        return int(self.values[shard, self._columns[f"crc32c:{name}"]])

    def check(self, *, complete: bool, file: Location) -> None:
        """Raise DamagedError, naming `file`, if the table contradicts the schema."""
        layout = self.schema.layout
        number = np.arange(layout.n_shards)
        exists = self.rows != 0
        split, window = number >= layout.n_heldout_shards, number // layout.shards_per_window
        fits = [
            bool((self.rows >= 0).all() and (self.rows <= layout.rows_per_shard).all()),
            bool((self.split[exists] == split[exists]).all() and (self.window[exists] == window[exists]).all()),
            bool((self.values[:, len(FACTS) :] >> 32 == 0).all()),
        ]
        if complete:
            split_rows = [int(self.rows[split == i].sum()) for i in range(len(SPLITS))]
            fits.append(bool(exists.all()) and split_rows == [layout.split_rows(name) for name in SPLITS])
        if not all(fits):
            raise DamagedError(f"{file} is damaged: it contradicts the store's schema")

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {name: column for column, name in enumerate(self.schema.commit_columns)}


def commit_line(schema: Schema, *, rows: int, split: int, window: int, checksums: Mapping[str, int]) -> Int:
    """Return a shard's line of the table: int64 [columns]. `checksums` has one entry per checksum column."""
    facts = {"rows": rows, "split": split, "window": window}
    columns = facts | {f"crc32c:{name}": checksum for name, checksum in checksums.items()}
    return np.array([columns[name] for name in schema.commit_columns], dtype=np.int64)
