"""The order in which training visits the rows: pure arithmetic, no I/O.

An epoch visits every row once. It visits the shards in an order in which neighbours come from different windows
(data/store/layout.py), cut into *groups* of about `pool` shards, and mixes the rows of each group one by one. A reader
therefore holds one group at a time, and the next one if it reads ahead. Everything is a function of (shards, seed,
step), so resuming is asking for a later step.

The shards of a window are spread over the whole epoch, or only over `mixed_windows` windows. An epoch then visits the
windows in order, and a batch needs few of them (windows.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from data.permutation import Int, hashes, permutation, seed_of


@dataclass(frozen=True)
class Shards:
    """The shards that an epoch visits: shard i has `rows[i]` rows and belongs to window `windows[i]`."""

    rows: tuple[int, ...]
    windows: tuple[int, ...]

    @cached_property
    def n_rows(self) -> int:
        return sum(self.rows)


@dataclass(frozen=True)
class GroupSlice:
    """The part of a batch that lies in one group: positions [first, last) of the group's order."""

    epoch: int
    group: int
    first: int
    last: int


@dataclass(frozen=True)
class ShardRows:
    """The rows of a `GroupSlice`, sorted by shard and row.

    members: int64 [k], the group's shards; bounds: int64 [k + 1]; rows: int64 [n]. The rows bounds[i] to bounds[i + 1]
    lie in shard members[i], and count from its start.
    """

    members: Int
    bounds: Int
    rows: Int

    @property
    def shards(self) -> Int:
        """The shard of each row: int64 [n]."""
        return np.repeat(self.members, np.diff(self.bounds))


@dataclass(frozen=True)
class ShardGroup:
    """Shards whose rows are mixed together, and the order in which these are visited.

    members: int64 [k], the shards. The group's rows are numbered shard by shard; starts: int64 [k + 1], the number of
    each shard's first row, and the number of rows. mixed: [n_rows], a permutation of the numbers; int32 if they fit,
    because slices then sort twice as fast.
    """

    members: Int
    starts: Int
    mixed: NDArray[np.integer]


class Order:
    """The order in which one stream visits the rows of `shards`, `pool` shards per group.

    mixed_windows: number of windows over which the shards of a window are spread; None: all.

    Raises ValueError for a pool or mixed_windows under 1.
    """

    def __init__(self, shards: Shards, pool: int, seed: int, mixed_windows: int | None = None) -> None:
        if pool < 1:
            raise ValueError(f"pool is {pool}; a stream mixes at least one shard at a time")
        if mixed_windows is not None and mixed_windows < 1:
            raise ValueError(f"mixed_windows is {mixed_windows}; a stream reads at least one window at a time")
        self.shards, self.pool, self.seed, self.mixed_windows = shards, pool, seed, mixed_windows
        self._group = lru_cache(maxsize=4)(self._make_group)
        self._shard_order = lru_cache(maxsize=8)(self._make_shard_order)
        self._group_starts = lru_cache(maxsize=8)(self._make_group_starts)

    @property
    def n_groups(self) -> int:
        """The number of groups of shards per epoch."""
        return -(-len(self.shards.rows) // self.pool)

    def group_of(self, row: int) -> int:
        """Return the group of the first epoch that has the epoch's row number `row`; n_groups for its end."""
        return int(np.searchsorted(self._group_starts(0), row, side="right")) - 1

    def group_start(self, group: int) -> int:
        """Return the number of the first row of a group in the first epoch; for n_groups, the number of rows."""
        return int(self._group_starts(0)[group])

    def group_after(self, epoch: int, group: int) -> tuple[int, int]:
        """Return the (epoch, group) that follows a group."""
        return (epoch, group + 1) if group + 1 < self.n_groups else (epoch + 1, 0)

    def batch(self, step: int, batch_size: int) -> list[ShardRows]:
        """Return the `batch_size` rows of batch `step`, one `ShardRows` per group that the batch touches.

        The last batch of an epoch is filled from the next epoch, so every batch has `batch_size` rows.

        Raises ValueError if there are fewer than `batch_size` rows.
        """
        return [self.shard_rows(group_slice) for group_slice in self.batch_slices(step, batch_size)]

    def batch_slices(self, step: int, batch_size: int) -> list[GroupSlice]:
        """Return the parts of groups that make up batch `step`. It is cheap: a reader uses it to look ahead.

        Raises ValueError if there are fewer than `batch_size` rows.
        """
        n_rows = self.shards.n_rows
        if n_rows < batch_size:
            raise ValueError(f"a batch of {batch_size} rows is more than the {n_rows} training rows there are")
        slices: list[GroupSlice] = []
        begin, end = step * batch_size, (step + 1) * batch_size
        while begin < end:
            epoch, offset = divmod(begin, n_rows)
            starts = self._group_starts(epoch)
            group = int(np.searchsorted(starts, offset, side="right")) - 1
            count = min(end - begin, int(starts[group + 1]) - offset)
            first = offset - int(starts[group])
            slices.append(GroupSlice(epoch, group, first, first + count))
            begin += count
        return slices

    def shard_rows(self, group_slice: GroupSlice) -> ShardRows:
        """Return the rows of a slice."""
        group = self._group(group_slice.epoch, group_slice.group)
        mixed = np.sort(group.mixed[group_slice.first : group_slice.last])
        bounds = np.searchsorted(mixed, group.starts)
        starts = np.repeat(group.starts[:-1], np.diff(bounds))
        return ShardRows(group.members, bounds, mixed - starts)

    def prepare(self, epoch: int, group: int) -> None:
        """Compute a group's order before its first batch is asked for; any thread may do it."""
        self._group(epoch, group)

    def members(self, epoch: int, group: int) -> Int:
        """Return the shards of a group, sorted: int64 [about pool], indices into `shards`."""
        order = self._shard_order(epoch)
        return np.sort(order[group * len(order) // self.n_groups : (group + 1) * len(order) // self.n_groups])

    def _make_group(self, epoch: int, group: int) -> ShardGroup:
        members = self.members(epoch, group)
        starts = np.concatenate([[0], np.cumsum(np.asarray(self.shards.rows)[members])])
        mixed = permutation(int(starts[-1]), self.seed, 1, epoch, group)
        return ShardGroup(members, starts, mixed.astype(np.min_scalar_type(-int(starts[-1]))))

    def _make_shard_order(self, epoch: int) -> Int:
        """Permute the shards so that those of one window are evenly spread over the epoch: int64 [n_shards].

        The j-th of a window's n shards, in random order, is put at (j + phase) / n of the epoch, with a random phase
        per window. Neighbours then come from different windows, so they share no contexts. With `mixed_windows` = k,
        window w is spread over [w, w + k) instead of [0, 1).
        """
        windows = np.asarray(self.shards.windows)
        shuffled = permutation(len(windows), self.seed, 0, epoch)
        by_window = shuffled[np.argsort(windows[shuffled], kind="stable")]
        _, first, counts = np.unique(windows[by_window], return_index=True, return_counts=True)
        index_in_window = np.arange(len(windows)) - np.repeat(first, counts)
        phase = hashes(np.arange(len(counts)), seed_of(self.seed, 2, epoch)) / 2.0**64
        position = (index_in_window + np.repeat(phase, counts)) / np.repeat(counts, counts)
        if self.mixed_windows is not None:
            position = np.repeat(np.arange(len(counts)), counts) + self.mixed_windows * position
        return by_window[np.argsort(position, kind="stable")]

    def _make_group_starts(self, epoch: int) -> Int:
        rows = np.asarray(self.shards.rows)
        sizes = [rows[self.members(epoch, group)].sum() for group in range(self.n_groups)]
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
