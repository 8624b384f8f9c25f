"""The assignment of rows to shards: pure arithmetic, no I/O.

Rows are numbered in reading order: row = context × rows_per_context + position. Held-out contexts come first, and each
split has shards of its own. Up to `shards_per_window` neighbouring shards form a *window*: one worker writes it, and
its shards are committed together.

Within a window the rows of a split are spread over its m shards in *rounds*. Round q takes the next m rows and gives
each shard one of them, in an order drawn from the seed; that row becomes row q of the shard. Therefore a shard holds
every m-th token of a long stretch of text (rows of many contexts), and is still written from front to back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from data.permutation import Int, seed_of, shuffled_rows

Split = Literal["heldout", "train"]
SPLITS: tuple[Split, Split] = ("heldout", "train")

SHARDS_PER_WINDOW = 32
MAX_CHUNK_BYTES = 24 << 20  # larger allocations defeat the memory allocators of readers that do not map
MAX_ROWS_PER_SHARD = 1 << 16
MIN_SHARDS = 16  # small stores get smaller shards, so that there is something to shuffle


def choose_rows_per_shard(n_rows: int, widest_row_bytes: int) -> int:
    """Return the largest power of two that keeps the widest chunk within 24 MiB and 65,536 rows.

    `n_rows` also gets 16 shards or more, except that a shard may always have 256 rows.
    """
    limit = min(MAX_CHUNK_BYTES // widest_row_bytes, MAX_ROWS_PER_SHARD, max(n_rows // MIN_SHARDS, 256))
    return 1 << (max(limit, 1).bit_length() - 1)


@dataclass(frozen=True)
class RowRange:
    """`count` consecutive rows of `shard`, starting at its row `offset`."""

    shard: int
    offset: int
    count: int


@dataclass(frozen=True)
class ShardAssignment:
    """Rows first_row … first_row + n_rows − 1, spread over shards first_shard … first_shard + n_shards − 1."""

    split: Split
    first_shard: int
    n_shards: int
    first_row: int
    n_rows: int
    seed: int

    @property
    def n_rounds(self) -> int:
        """The number of rounds."""
        return -(-self.n_rows // self.n_shards)

    def rows_of_rounds(self, first_round: int, last_round: int) -> Int:
        """Return the row that each shard gets in rounds [first_round, last_round): int64 [rounds, n_shards].

        The last round may have too few rows for all shards; a shard without a row has −1.
        """
        rounds = np.arange(first_round, last_round, dtype=np.int64)
        index = rounds[:, None] * self.n_shards + np.arange(self.n_shards, dtype=np.int64)
        assigned = rounds[:, None] * self.n_shards + shuffled_rows(self.first_row + index, self.seed)
        return np.where(assigned < self.n_rows, self.first_row + assigned, -1)

    def shard_rows(self) -> Int:
        """Return the number of rows of each shard: int64 [n_shards]. They differ by at most one."""
        if not self.n_rows:
            return np.zeros(self.n_shards, dtype=np.int64)
        return self.n_rounds - 1 + (self.rows_of_rounds(self.n_rounds - 1, self.n_rounds)[0] >= 0)

    def writing_order(self, first_row: int, last_row: int) -> tuple[Int, list[RowRange]]:
        """Return those of the rows [first_row, last_row) that are assigned here, shard by shard, and their ranges.

        The rows are int64 [n]. The first `ranges[0].count` of them are written to `ranges[0]`, and so on.
        """
        low, high = max(first_row, self.first_row), min(last_row, self.first_row + self.n_rows)
        if low >= high:
            return np.empty(0, dtype=np.int64), []
        first_round = (low - self.first_row) // self.n_shards
        last_round = -(-(high - self.first_row) // self.n_shards)
        columns = self.rows_of_rounds(first_round, last_round).T
        wanted = (columns >= low) & (columns < high)
        counts = wanted.sum(axis=1)
        offsets = first_round + wanted.argmax(axis=1)
        ranges = [
            RowRange(self.first_shard + shard, int(offset), int(count))
            for shard, (offset, count) in enumerate(zip(offsets, counts, strict=True))
            if count
        ]
        return columns[wanted], ranges


@dataclass(frozen=True)
class Layout:
    """The number of contexts of a store, and the division of their rows into shards and windows."""

    n_contexts: int
    n_heldout_contexts: int
    rows_per_context: int
    rows_per_shard: int
    shards_per_window: int
    seed: int

    @property
    def n_rows(self) -> int:
        """The number of rows per hook in both splits."""
        return self.n_contexts * self.rows_per_context

    def split_rows(self, split: Split) -> int:
        """Return the number of rows per hook in a split."""
        heldout = self.n_heldout_contexts * self.rows_per_context
        return heldout if split == "heldout" else self.n_rows - heldout

    @property
    def n_heldout_shards(self) -> int:
        """The number of shards of the held-out split."""
        return -(-self.split_rows("heldout") // self.rows_per_shard)

    @property
    def n_shards(self) -> int:
        """The number of shards of both splits."""
        return self.n_heldout_shards - (-self.split_rows("train") // self.rows_per_shard)

    @property
    def n_windows(self) -> int:
        """The number of windows."""
        return -(-self.n_shards // self.shards_per_window)

    def worker_windows(self, rank: int, world_size: int) -> range:
        """Return the windows of worker `rank`; the workers' windows are disjoint and together all."""
        return range(rank, self.n_windows, world_size)

    def assignments(self, window: int) -> list[ShardAssignment]:
        """Return the assignments of a window: one per split that has shards in it."""
        begin = window * self.shards_per_window
        end = min(begin + self.shards_per_window, self.n_shards)
        assignments = []
        for split in SPLITS:
            low = 0 if split == "heldout" else self.n_heldout_shards
            high = self.n_heldout_shards if split == "heldout" else self.n_shards
            first_row = 0 if split == "heldout" else self.split_rows("heldout")
            first_shard, last_shard = max(begin, low), min(end, high)
            if first_shard < last_shard:
                skipped = (first_shard - low) * self.rows_per_shard
                n_rows = min((last_shard - low) * self.rows_per_shard, self.split_rows(split)) - skipped
                assignments.append(
                    ShardAssignment(
                        split, first_shard, last_shard - first_shard, first_row + skipped, n_rows, seed_of(self.seed)
                    )
                )
        return assignments

    def training_shards(self) -> tuple[Int, Int, Int]:
        """Return the training shards of the complete store, their numbers of rows and windows: int64 [n] each."""
        parts = [
            (part.first_shard + np.arange(part.n_shards), part.shard_rows(), np.full(part.n_shards, window))
            for window in range(self.n_windows)
            for part in self.assignments(window)
            if part.split == "train"
        ]
        shards, rows, windows = (np.concatenate([part[i] for part in parts], dtype=np.int64) for i in range(3))
        return shards, rows, windows

    def window_rows(self, window: int) -> int:
        """Return the number of rows of a window."""
        return sum(assignment.n_rows for assignment in self.assignments(window))

    def window_contexts(self, window: int) -> tuple[int, int]:
        """Return the contexts [first, last) that have rows in a window."""
        assignments = self.assignments(window)
        first = assignments[0].first_row
        last = assignments[-1].first_row + assignments[-1].n_rows
        return first // self.rows_per_context, -(-last // self.rows_per_context)

    def window_batches(self, window: int, batch_size: int, done: int) -> Iterator[tuple[int, int]]:
        """Yield the batches of contexts [first, last) that a window still needs; contexts before `done` are written.

        Batches start at multiples of `batch_size`, whatever the window and `done` are.
        """
        begin, end = self.window_contexts(window)
        for first in range(max(begin, done) // batch_size * batch_size, end, batch_size):
            yield first, min(first + batch_size, self.n_contexts)

    def writing_order(self, window: int, first_row: int, last_row: int) -> tuple[Int, list[RowRange]]:
        """Return the rows [first_row, last_row) of a window in the order of writing, int64 [n], and their ranges."""
        parts = [assignment.writing_order(first_row, last_row) for assignment in self.assignments(window)]
        return np.concatenate([rows for rows, _ in parts]), [row_range for _, ranges in parts for row_range in ranges]
