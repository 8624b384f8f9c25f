"""The shards that a stream reads: memory-mapped, with their pages in memory before rows are copied from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.errors import DamagedError
from data.store.encodings import EncodedRows, Encoding
from data.store.reader import Store
from data.system.location import transfers

PAGE_BYTES = 4096


@dataclass(frozen=True)
class Shard:
    """One hook's rows of a shard in memory.

    `check` raises DamagedError if the mapped file has become shorter; reading beyond its end would end the process.
    """

    rows: EncodedRows
    encoding: Encoding
    check: Callable[[], None]


PendingShard = Future[Shard]


class MappedShards:
    """The shards that a stream holds. Background threads open them and read their pages, in the order requested.

    Mapping a shard's pages costs about as much as copying them, so as many shards are kept as the limit allows.
    """

    def __init__(self, store: Store, hooks: Sequence[str], *, limit: int) -> None:
        self.store, self.hooks, self.limit = store, hooks, limit
        self.maps: dict[int, list[PendingShard]] = {}  # shard → one per hook; least recently used first
        self.warmer = ThreadPoolExecutor(transfers(store.path), thread_name_prefix="warm")

    def hold(self, shards: list[int]) -> None:
        """Hold these shards, and the most recently used of the others up to the limit."""
        wanted = set(shards)
        others = [shard for shard in self.maps if shard not in wanted]
        for shard in others[: max(len(others) + len(wanted) - self.limit, 0)]:
            del self.maps[shard]
        for shard in shards:
            held = self.maps.pop(shard, None)
            self.maps[shard] = held or [self.warmer.submit(warm, self.store, hook, shard) for hook in self.hooks]

    def forget_failed(self) -> None:
        """Release the shards that could not be read, or were damaged since."""
        for shard in [shard for shard, maps in self.maps.items() if any(map(failed, maps))]:
            del self.maps[shard]

    def close(self) -> None:
        self.maps.clear()
        self.warmer.shutdown(wait=True, cancel_futures=True)


def warm(store: Store, hook: str, shard: int) -> Shard:
    """Open a shard and touch each of its pages, so that gathering waits neither for the disk nor for page faults."""
    rows = store.encoded(hook, shard)
    rows.values.reshape(-1).view(np.uint8)[::PAGE_BYTES].max(initial=0)
    rows = EncodedRows(
        rows.values,
        tuple(scale.copy() for scale in rows.row_scales),
        tuple(scale.copy() for scale in rows.channel_scales),
    )
    return Shard(rows, store.encoding, store.size_check(hook, shard))


def failed(source: PendingShard) -> bool:
    """Return whether a shard could not be read, or its file was truncated or removed since."""
    if not source.done():
        return False
    if source.exception() is None:
        try:
            source.result().check()
        except DamagedError:
            return True
    return source.exception() is not None


def gather(shard: Shard, rows: NDArray[np.int64], out: NDArray[np.generic]) -> None:
    """Copy rows of a shard, sorted int64 [n], into out [n, d] of the type of training batches."""
    if int(rows[-1]) >= len(shard.rows):  # `Encoding.gather` does not check
        raise IndexError(f"row {int(rows[-1])} of a shard that has {len(shard.rows)}")
    shard.check()
    shard.encoding.gather(shard.rows, rows, out)
