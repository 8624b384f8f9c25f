"""The order in which training rows are visited: pure arithmetic, no I/O.

An epoch visits every row once. Shards are ordered so that neighbours come from different windows (deal.py), and cut
into groups of about `pool`; the rows of a group are mixed one by one, so a reader holds one group (and the next one,
where it reads ahead). Everything is a function of (shards, seed, step): to resume is to ask for a later step.

Not here: reading (reader.py), batching across layers (stream.py), where rows come from (deal.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from data.permutation import Int, hashes, permutation, seed_of


@dataclass(frozen=True)
class Shards:
    """The shards that an epoch visits: `rows[i]` rows in the i-th, which belongs to window `windows[i]`."""

    rows: tuple[int, ...]
    windows: tuple[int, ...]

    @cached_property
    def n_rows(self) -> int:
        return sum(self.rows)


@dataclass(frozen=True)
class Span:
    """A part of a batch that lies in one group: positions lo ≤ … < hi of the group's order."""

    epoch: int
    group: int
    lo: int
    hi: int


@dataclass(frozen=True)
class Segment:
    """The rows of a span, shard by shard, sorted.

    members: int64 [k], the group's shards; bounds: int64 [k + 1]; rows: int64 [n], of which those from bounds[i] to
    bounds[i + 1] lie, and count, in shard members[i].
    """

    members: Int
    bounds: Int
    rows: Int

    @property
    def shards(self) -> Int:
        """The shard of each row: int64 [n]."""
        return np.repeat(self.members, np.diff(self.bounds))


@dataclass(frozen=True)
class Group:
    """Some shards, and the order in which their rows are visited.

    members: int64 [k], the shards, about `pool`; starts: int64 [k + 1], where each one's rows start, and the last one's
    end, when the group's rows are numbered shard by shard; mixed [n_rows], a permutation of those numbers, int32 where
    they fit, of which a part is sorted in half the time.
    """

    members: Int
    starts: Int
    mixed: NDArray[np.integer]


@dataclass(frozen=True, eq=False)  # compared and hashed by identity: the caches below ask often
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
        return [self.segment(span) for span in self.spans(step, batch_size)]

    def spans(self, step: int, batch_size: int) -> list[Span]:
        """Where batch `step` lies: little work, so that a reader can see ahead which shards it will need."""
        n_rows = self.shards.n_rows
        if n_rows < batch_size:
            raise ValueError(f"a batch of {batch_size} rows is more than the {n_rows} training rows there are")
        spans: list[Span] = []
        begin, end = step * batch_size, (step + 1) * batch_size
        while begin < end:
            epoch, offset = divmod(begin, n_rows)
            starts = _group_starts(self, epoch)
            group = int(np.searchsorted(starts, offset, side="right")) - 1
            count = min(end - begin, int(starts[group + 1]) - offset)
            position = offset - int(starts[group])
            spans.append(Span(epoch, group, position, position + count))
            begin += count
        return spans

    def segment(self, span: Span) -> Segment:
        """The rows of a span."""
        group = _group(self, span.epoch, span.group)
        mixed = np.sort(group.mixed[span.lo : span.hi])
        bounds = np.searchsorted(mixed, group.starts)
        starts = np.repeat(group.starts[:-1], np.diff(bounds))
        return Segment(group.members, bounds, mixed - starts)

    def prepare(self, epoch: int, group: int) -> None:
        """Work out a group's order ahead of its first batch, in whatever thread has time for it."""
        _group(self, epoch, group)

    def members(self, epoch: int, group: int) -> Int:
        """The shards of a group: int64 [about pool], indices into `shards`, sorted."""
        order = _shard_order(self, epoch)
        return np.sort(order[group * len(order) // self.n_groups : (group + 1) * len(order) // self.n_groups])


@lru_cache(maxsize=4)
def _group(order: Order, epoch: int, group: int) -> Group:
    members = order.members(epoch, group)
    starts = np.concatenate([[0], np.cumsum(np.asarray(order.shards.rows)[members])])
    mixed = permutation(int(starts[-1]), order.seed, 1, epoch, group)
    return Group(members, starts, mixed.astype(np.min_scalar_type(-int(starts[-1]))))


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
    rows = np.asarray(order.shards.rows)
    sizes = [rows[order.members(epoch, group)].sum() for group in range(order.n_groups)]
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
