"""Which row goes into which shard: pure arithmetic, no I/O.

Harvested rows are numbered in reading order: row = context × rows_per_context + position, held-out contexts first.
Each split has shards of its own. Up to `shards_per_window` neighbouring shards form a *window*, the unit that one
worker owns and that is committed at once. Inside a window the rows of a split are dealt like cards: each *round*
gives one of the next m rows to each of the m shards, in an order drawn from the seed. So a shard holds every m-th
token of a long stretch of text (rows of many contexts), and yet is written from front to back: the row dealt in
round q is row q of its shard.

Not here: the order in which training visits the rows (order.py), files (writer.py).
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
    """The power of two that keeps the widest chunk within 24 MiB and 65536 rows, and `n_rows` in 16 shards or more."""
    limit = min(MAX_CHUNK_BYTES // widest_row_bytes, MAX_ROWS_PER_SHARD, max(n_rows // MIN_SHARDS, 256))
    return 1 << (max(limit, 1).bit_length() - 1)


@dataclass(frozen=True)
class Run:
    """`count` rows for `shard`, from its row `offset` on."""

    shard: int
    offset: int
    count: int


@dataclass(frozen=True)
class Deal:
    """Rows `first_row` … `first_row + n_rows − 1`, dealt to shards `first_shard` … `first_shard + n_shards − 1`."""

    split: Split
    first_shard: int
    n_shards: int
    first_row: int
    n_rows: int
    seed: int

    @property
    def n_rounds(self) -> int:
        return -(-self.n_rows // self.n_shards)

    def cards(self, first_round: int, last_round: int) -> Int:
        """The row that each shard gets in rounds [first_round, last_round): int64 [rounds, n_shards].

        −1 where a shard gets none: in the last round, if the rows do not suffice for all.
        """
        rounds = np.arange(first_round, last_round, dtype=np.int64)
        index = rounds[:, None] * self.n_shards + np.arange(self.n_shards, dtype=np.int64)
        dealt = rounds[:, None] * self.n_shards + shuffled_rows(self.first_row + index, self.seed)
        return np.where(dealt < self.n_rows, self.first_row + dealt, -1)

    def shard_rows(self) -> Int:
        """How many rows each shard gets: int64 [n_shards]; they differ by one at most."""
        if not self.n_rows:
            return np.zeros(self.n_shards, dtype=np.int64)
        return self.n_rounds - 1 + (self.cards(self.n_rounds - 1, self.n_rounds)[0] >= 0)

    def place(self, lo: int, hi: int) -> tuple[Int, list[Run]]:
        """Where the rows lo ≤ row < hi go, as far as this deal has them.

        Returns the rows in the order in which they are written, int64 [n], and the runs that they make up: the
        first `runs[0].count` of them belong to `runs[0]`, and so on.
        """
        lo, hi = max(lo, self.first_row), min(hi, self.first_row + self.n_rows)
        if lo >= hi:
            return np.empty(0, dtype=np.int64), []
        first_round = (lo - self.first_row) // self.n_shards
        last_round = -(-(hi - self.first_row) // self.n_shards)
        columns = self.cards(first_round, last_round).T
        wanted = (columns >= lo) & (columns < hi)
        counts = wanted.sum(axis=1)
        offsets = first_round + wanted.argmax(axis=1)
        runs = [
            Run(self.first_shard + shard, int(offset), int(count))
            for shard, (offset, count) in enumerate(zip(offsets, counts, strict=True))
            if count
        ]
        return columns[wanted], runs


@dataclass(frozen=True)
class Layout:
    """The whole store: how many contexts there are, and how their rows fall into shards and windows."""

    n_contexts: int
    n_heldout_contexts: int
    rows_per_context: int
    rows_per_shard: int
    shards_per_window: int
    seed: int

    @property
    def n_rows(self) -> int:
        return self.n_contexts * self.rows_per_context

    def split_rows(self, split: Split) -> int:
        heldout = self.n_heldout_contexts * self.rows_per_context
        return heldout if split == "heldout" else self.n_rows - heldout

    @property
    def n_heldout_shards(self) -> int:
        return -(-self.split_rows("heldout") // self.rows_per_shard)

    @property
    def n_shards(self) -> int:
        return self.n_heldout_shards - (-self.split_rows("train") // self.rows_per_shard)

    @property
    def n_windows(self) -> int:
        return -(-self.n_shards // self.shards_per_window)

    def deals(self, window: int) -> list[Deal]:
        """The deals of a window: one, or two where the held-out shards end inside it."""
        begin = window * self.shards_per_window
        end = min(begin + self.shards_per_window, self.n_shards)
        deals = []
        for split in SPLITS:
            low = 0 if split == "heldout" else self.n_heldout_shards
            high = self.n_heldout_shards if split == "heldout" else self.n_shards
            first_row = 0 if split == "heldout" else self.split_rows("heldout")
            a, b = max(begin, low), min(end, high)
            if a < b:
                skipped = (a - low) * self.rows_per_shard
                n_rows = min((b - low) * self.rows_per_shard, self.split_rows(split)) - skipped
                deals.append(Deal(split, a, b - a, first_row + skipped, n_rows, seed_of(self.seed)))
        return deals

    def window_contexts(self, window: int) -> tuple[int, int]:
        """The contexts [first, last) of which the window has rows."""
        deals = self.deals(window)
        first = deals[0].first_row
        last = deals[-1].first_row + deals[-1].n_rows
        return first // self.rows_per_context, -(-last // self.rows_per_context)


def worker_windows(layout: Layout, rank: int, world_size: int) -> Iterator[int]:
    """The windows that worker `rank` of `world_size` owns: disjoint, and together all."""
    yield from range(rank, layout.n_windows, world_size)
