"""The order in which training rows are visited: pure arithmetic, no I/O.

An epoch visits every row once. Shards are ordered so that neighbours come from different windows (deal.py), and cut
into groups of about `pool`; the rows of a group are mixed one by one, so a reader holds one group (and the next one,
where it reads ahead). Everything is a function of (shards, seed, step): to resume is to ask for a later step.

Not here: reading (reader.py), batching across layers (stream.py), where rows come from (deal.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from data.permute import Int, hashes, permutation, seed_of


@dataclass(frozen=True)
class Shards:
    """The shards that an epoch visits: `rows[i]` rows in the i-th, which belongs to window `windows[i]`."""

    rows: tuple[int, ...]
    windows: tuple[int, ...]

    @property
    def n_rows(self) -> int:
        return sum(self.rows)


@dataclass(frozen=True)
class Segment:
    """A part of a batch that lies in one group: `rows[i]` counts within shard `shards[i]`; both int64 [n], sorted."""

    epoch: int
    group: int
    shards: Int
    rows: Int


@dataclass(frozen=True)
class Order:
    """The visiting order of one stream."""

    shards: Shards
    pool: int
    seed: int

    def __post_init__(self) -> None:
        if self.pool < 1:
            raise ValueError(f"pool is {self.pool}; a stream mixes at least one shard at a time")

    @property
    def n_groups(self) -> int:
        return -(-len(self.shards.rows) // self.pool)

    def group_after(self, epoch: int, group: int) -> tuple[int, int]:
        return (epoch, group + 1) if group + 1 < self.n_groups else (epoch + 1, 0)

    def batch(self, step: int, batch_size: int) -> list[Segment]:
        """Rows of training batch `step`, `batch_size` in all: one segment, or more where groups end inside it.

        The last batch of an epoch is filled from the next epoch, so every batch has `batch_size` rows.

        Raises ValueError where the store holds fewer than `batch_size` rows.
        """
        n_rows = self.shards.n_rows
        if n_rows < batch_size:
            raise ValueError(f"a batch of {batch_size} rows is more than the {n_rows} training rows there are")
        segments: list[Segment] = []
        begin, end = step * batch_size, (step + 1) * batch_size
        while begin < end:
            epoch, offset = divmod(begin, n_rows)
            starts = _group_starts(self, epoch)
            group = int(np.searchsorted(starts, offset, side="right")) - 1
            count = min(end - begin, int(starts[group + 1]) - offset)
            position = offset - int(starts[group])
            segments.append(_segment(self, epoch, group, position, position + count))
            begin += count
        return segments

    def group(self, epoch: int, group: int) -> Int:
        """The shards of a group: int64 [about pool], indices into `shards`."""
        order = _shard_order(self, epoch)
        return np.sort(order[group * len(order) // self.n_groups : (group + 1) * len(order) // self.n_groups])


def _segment(order: Order, epoch: int, group: int, lo: int, hi: int) -> Segment:
    members = order.group(epoch, group)
    ends = np.cumsum([order.shards.rows[i] for i in members])
    mixed = np.sort(_mixed_rows(int(ends[-1]), order.seed, epoch, group)[lo:hi])
    which = np.searchsorted(ends, mixed, side="right")
    starts = np.concatenate([[0], ends[:-1]])
    return Segment(epoch, group, members[which], mixed - starts[which])


@lru_cache(maxsize=4)
def _mixed_rows(n_rows: int, seed: int, epoch: int, group: int) -> Int:
    return permutation(n_rows, seed, 1, epoch, group)


@lru_cache(maxsize=8)
def _shard_order(order: Order, epoch: int) -> Int:
    """A permutation of the shards in which those of one window lie evenly spread: int64 [n_shards].

    The j-th of a window's n shards, in random order, is put at (j + phase) / n of the epoch, with a random phase for
    each window: neighbours then come from different windows, so they share no contexts.
    """
    windows = np.asarray(order.shards.windows)
    shuffled = permutation(len(windows), order.seed, 0, epoch)
    by_window = shuffled[np.argsort(windows[shuffled], kind="stable")]
    _, first, counts = np.unique(windows[by_window], return_index=True, return_counts=True)
    place = np.arange(len(windows)) - np.repeat(first, counts)
    phase = hashes(np.arange(len(counts)), seed_of(order.seed, 2, epoch)) / 2.0**64
    return by_window[np.argsort((place + np.repeat(phase, counts)) / np.repeat(counts, counts), kind="stable")]


@lru_cache(maxsize=8)
def _group_starts(order: Order, epoch: int) -> Int:
    sizes = [sum(order.shards.rows[i] for i in order.group(epoch, g)) for g in range(order.n_groups)]
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
