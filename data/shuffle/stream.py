"""The shuffled stream: training batches of all layers at once, in an order known beforehand, read ahead.

Background threads gather the next batches into a few reused buffers while the caller computes; each stored row is
copied once, from its map into the batch. Another thread maps the next group of shards and touches its pages while the
present one is read; from an object store, several fetch it. What is held is bounded (`memory_bytes`).

Not here: the order (order.py), which is pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray

from data.errors import DamagedError, InputError
from data.shuffle.order import GroupSlice, Order, Shards
from data.store.encodings import EncodedRows, Encoding
from data.store.reader import Store
from data.system.limits import available_memory, cpus, disk_threads
from data.system.location import transfers

DEFAULT_POOL = 12  # shards mixed at a time: 0.97 of a uniform draw's contexts at 10M tokens (mixing.py)
READ_AHEAD = 4  # batches
READ_THREADS = 2  # at least: a gather waits for memory most of the time, so two overlap
HELD_BYTES = 15 << 28  # 3.75 GiB of maps, or half of the memory where that is less, or two groups where those are more
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


@dataclass(frozen=True)
class Buffer:
    """One batch: `array` [layers, batch, d], because gathering into [batch, layers, d] is 2 to 3 times slower."""

    array: NDArray[np.generic]
    tensor: torch.Tensor  # the same memory


class ShuffledStream:
    """Iterate over batches of a store's training rows, for ever, from step `start` on.

    Each item is a tensor [batch, layers, d_model] of the stored type (float32 for int8), on the CPU, in pinned memory
    if asked. It is a view of a buffer that is overwritten once the next item has been asked for: move or copy it
    first. Batch `step` is a pure function of (store, seed, step, batch_size, pool).

    Raises InputError where the hooks differ in width, or the store has fewer training rows than a batch.
    """

    def __init__(
        self,
        store: Store,
        hooks: Sequence[str] | None = None,
        *,
        batch_size: int = 4096,
        seed: int = 0,
        pool: int = DEFAULT_POOL,
        start: int = 0,
        read_ahead: int = READ_AHEAD,
        pin: bool = False,
    ) -> None:
        self.store, self.hooks, self.batch_size = store, list(hooks or store.hooks), batch_size
        widths = {store.width(hook) for hook in self.hooks}
        if len(widths) > 1:
            raise InputError(f"hooks of different widths {sorted(widths)} cannot share a batch; stream them apart")
        self.order, self._members = training_order(store, pool=pool, seed=seed)
        if batch_size < 1:
            raise InputError(f"a batch of {batch_size} rows; give at least one")
        if self.order.shards.n_rows < batch_size:
            raise InputError(
                f"{store.path} has {self.order.shards.n_rows} training rows, fewer than a batch of {batch_size}; "
                "give a smaller --batch-size or harvest more tokens"
            )
        self.step = start
        self._limit = held_shards(store, self.hooks, pool)
        self._shards = _Shards(store, self.hooks, limit=self._limit)
        self._readers = ThreadPoolExecutor(read_threads(), thread_name_prefix="read")
        self._group: tuple[int, int] | None = None
        self._held: Buffer | None = None
        self._pending: deque[tuple[Future[None], Buffer]] = deque()  # the next batches, in order
        self._buffers = [self._allocate(widths.pop(), pin)]
        self._buffers += [self._allocate(self._buffers[0].array.shape[2], pin) for _ in range(read_ahead)]
        self._free = deque(self._buffers)
        self._request_all()

    @property
    def memory_bytes(self) -> int:
        """Most that the stream holds: maps (page cache; memory of its own where they are none), and its buffers."""
        buffers = sum(buffer.array.nbytes for buffer in self._buffers)
        return self._limit * shard_bytes(self.store, self.hooks) + buffers

    def __iter__(self) -> Iterator[torch.Tensor]:
        return self

    def __next__(self) -> torch.Tensor:
        if self._held is not None:
            self._free.append(self._held)
            self._held = None
        self._request_all()
        if not self._pending:
            raise StopIteration
        try:
            self._pending[0][0].result()
        except Exception:
            self._take_back()
            raise
        self._held = self._pending.popleft()[1]
        self.step += 1
        return self._held.tensor.transpose(0, 1)

    def close(self) -> None:
        """Stop the background threads and let go of the maps."""
        self._pending.clear()
        self._free.clear()
        self._held = None
        self._readers.shutdown(wait=True, cancel_futures=True)
        self._shards.close()

    def __enter__(self) -> ShuffledStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _allocate(self, d: int, pin: bool) -> Buffer:
        encoding, shape = self.store.encoding, (len(self.hooks), self.batch_size, d)
        array = np.zeros(shape, dtype=encoding.batch)
        if pin:
            memory = torch.zeros(array.nbytes, dtype=torch.uint8, pin_memory=True)
            array = memory.numpy().view(encoding.batch).reshape(shape)
        return Buffer(array, encoding.view_batch(array))

    def _request_all(self) -> None:
        """Have the next batches that nobody has asked for yet gathered into the free buffers."""
        while self._free:
            slices = self.order.batch_slices(self.step + len(self._pending), self.batch_size)
            parts = [(part, self._enter(part.epoch, part.group)) for part in slices]
            buffer = self._free.popleft()
            self._pending.append((self._readers.submit(self._fill, buffer, parts), buffer))

    def _take_back(self) -> None:
        """Forget what was asked for, since it failed: the next call asks for the same batches again."""
        for future, buffer in self._pending:
            future.exception()  # waits: nobody may write to the buffer any more
            self._free.append(buffer)
        self._pending.clear()
        self._group = None
        self._shards.forget_failed()

    def _enter(self, epoch: int, group: int) -> dict[int, list[PendingShard]]:
        """Hold this group's shards and the next one's; returns this group's maps, by their place in the order."""
        members = [int(i) for i in self.order.members(epoch, group)]
        if (epoch, group) != self._group:
            self._group = (epoch, group)
            following = self.order.group_after(epoch, group)
            ahead = [int(i) for i in self.order.members(*following)]
            self._shards.hold([self._members[i] for i in members + ahead])
            self._shards.warmer.submit(self.order.prepare, *following)
        return {i: self._shards.maps[self._members[i]] for i in members}

    def _fill(self, buffer: Buffer, parts: list[tuple[GroupSlice, dict[int, list[PendingShard]]]]) -> None:
        begin = 0
        for group_slice, pending in parts:
            part = self.order.shard_rows(group_slice)
            for member, (low, high) in zip(part.members.tolist(), pairwise(part.bounds.tolist()), strict=True):
                if low == high:
                    continue
                for layer, shard in enumerate(pending[member]):
                    out = buffer.array[layer, begin : begin + high - low]
                    gather(shard.result(), part.rows[low:high], out)
                begin += high - low


class _Shards:
    """The shards that a stream holds, opened and brought into memory by threads of their own, in the order named.

    Mapping a shard's pages costs about as much as copying them, so as many maps are kept as the limit allows.
    """

    def __init__(self, store: Store, hooks: Sequence[str], *, limit: int) -> None:
        self.store, self.hooks, self.limit = store, hooks, limit
        self.maps: dict[int, list[PendingShard]] = {}  # shard → one map a hook; least recently used first
        self.warmer = ThreadPoolExecutor(transfers(store.path), thread_name_prefix="warm")

    def hold(self, shards: list[int]) -> None:
        """Hold these shards, and of the others the most recent up to the limit."""
        wanted = set(shards)
        others = [shard for shard in self.maps if shard not in wanted]
        for shard in others[: max(len(others) + len(wanted) - self.limit, 0)]:
            del self.maps[shard]
        for shard in shards:
            held = self.maps.pop(shard, None)
            self.maps[shard] = held or [self.warmer.submit(warm, self.store, hook, shard) for hook in self.hooks]

    def forget_failed(self) -> None:
        """Let go of the shards of which something could not be read, or was damaged since."""
        for shard in [shard for shard, maps in self.maps.items() if any(map(failed, maps))]:
            del self.maps[shard]

    def close(self) -> None:
        self.maps.clear()
        self.warmer.shutdown(wait=True, cancel_futures=True)


def warm(store: Store, hook: str, shard: int) -> Shard:
    """Map a shard (or fetch it) and touch each page, so that gathering from it waits neither for disk nor faults."""
    rows = store.encoded(hook, shard)
    rows.values.reshape(-1).view(np.uint8)[::PAGE_BYTES].max(initial=0)
    rows = EncodedRows(
        rows.values,
        tuple(scale.copy() for scale in rows.row_scales),
        tuple(scale.copy() for scale in rows.channel_scales),
    )
    return Shard(rows, store.encoding, store.size_check(hook, shard))


def failed(source: PendingShard) -> bool:
    """Whether a shard could not be read, or what was mapped is not there any more."""
    if not source.done():
        return False
    if source.exception() is None:
        try:
            source.result().check()
        except DamagedError:
            return True
    return source.exception() is not None


def gather(shard: Shard, rows: NDArray[np.int64], out: NDArray[np.generic]) -> None:
    """Copy rows of a shard, sorted, into out [len(rows), d]; int8 is decoded on the way."""
    if int(rows[-1]) >= len(shard.rows):  # "clip" below would hide it
        raise IndexError(f"row {int(rows[-1])} of a shard that has {len(shard.rows)}")
    shard.check()
    shard.encoding.gather(shard.rows, rows, out)


def read_threads() -> int:
    """How many batches to gather at a time."""
    return min(max(READ_THREADS, disk_threads()), READ_AHEAD, cpus())


def training_order(store: Store, *, pool: int, seed: int) -> tuple[Order, list[int]]:
    """The visiting order of a store's training rows, and the store's shard of each of its shards."""
    members = store.shards("train")
    rows = tuple(int(n) for n in store.commit.rows[members])
    windows = tuple(int(w) for w in store.commit.window[members])
    return Order(Shards(rows, windows), pool=pool, seed=seed), members


def shard_bytes(store: Store, hooks: Sequence[str]) -> int:
    """Bytes of one shard of the hooks, mapped or in memory."""
    return sum(store.width(hook) for hook in hooks) * store.encoding.stored.itemsize * store.layout.rows_per_shard


def held_shards(store: Store, hooks: Sequence[str], pool: int) -> int:
    """How many shards the stream keeps open: two groups, or more of a store whose maps cost no memory of their own."""
    more = min(HELD_BYTES, available_memory() // 2) // shard_bytes(store, hooks) if store.mapped else 0
    return min(max(2 * pool, more), max(len(store.shards("train")), 1))


def held_bytes(store: Store, hooks: Sequence[str], pool: int) -> int:
    """Bytes of the shards that the stream keeps open."""
    return held_shards(store, hooks, pool) * shard_bytes(store, hooks)
