"""The shuffled stream: training batches of all layers, in an order computed beforehand (order.py), read ahead.

Background threads gather the next batches into a few reused buffers while the caller computes. Each stored row is
copied once, from its memory map into the batch. Other threads map the next group of shards and touch its pages while
the current group is read; from an object store they fetch it. `memory_bytes` is the bound on the memory used.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray

from data.errors import InputError
from data.shuffle.mapped_shards import MappedShards, PendingShard, gather
from data.shuffle.order import GroupSlice, Order, Shards
from data.store.reader import Store
from data.system.limits import available_memory, cpus, disk_threads

DEFAULT_POOL = 12  # shards per group: at 10M tokens a batch has 0.97 of a uniform draw's contexts (quality.py)
READ_AHEAD = 4  # batches
READ_THREADS = 2  # at least; a gather mostly waits for memory, so two overlap
HELD_BYTES = 15 << 28  # of maps: 3.75 GiB, but at most half of the free memory, and at least two groups


@dataclass(frozen=True)
class Buffer:
    """Memory of one batch: [layers, batch, d], because gathering into [batch, layers, d] is 2 to 3 times slower."""

    array: NDArray[np.generic]
    tensor: torch.Tensor  # the same memory


class ShuffledStream:
    """Iterate endlessly over shuffled batches of a store's training rows, starting at step `start`.

        with ShuffledStream(store, ["blocks.5.hook_mlp_out"], batch_size=4096, seed=0) as stream:
            for batch in stream:                       # [4096, 1, d]
                train(batch.to(device))

    Each item is a tensor [batch, layers, d] of the stored type (codes decoded to float32) on the CPU. It is a view of
    a buffer that the next item overwrites: move or copy it first. Batch `step` is a pure function of (store, seed,
    step, batch_size, pool), so `start` resumes a stream exactly.

    store, hooks: one hook, or several of one width; None means all of the store.
    batch_size: rows per batch.
    pool: number of shards whose rows are mixed together; more mix better and take more memory.
    mixed_windows: visit the windows in order, and mix the rows of so many neighbouring ones; None: of all.
    available: number of batches whose rows exist; the iteration stops there. None: all, epoch after epoch.
    read_ahead: number of batches that are gathered ahead.
    pin: use pinned memory, for a faster copy to a GPU.

    Raises InputError if the hooks differ in width, or the store has fewer training rows than a batch; StoreError for an
    unknown hook. Iterating raises DamagedError if a shard is damaged; the next call then tries again.
    """

    def __init__(
        self,
        store: Store,
        hooks: Sequence[str] | str | None = None,
        *,
        batch_size: int = 4096,
        seed: int = 0,
        pool: int = DEFAULT_POOL,
        mixed_windows: int | None = None,
        start: int = 0,
        available: int | None = None,
        read_ahead: int = READ_AHEAD,
        pin: bool = False,
    ) -> None:
        chosen = [hooks] if isinstance(hooks, str) else list(hooks or store.hooks)
        self.store, self.hooks, self.batch_size = store, chosen, batch_size
        widths = {store.width(hook) for hook in self.hooks}
        if len(widths) > 1:
            raise InputError(f"hooks of different widths {sorted(widths)} cannot share a batch; stream them apart")
        self.order, self._members = training_order(store, pool=pool, seed=seed, mixed_windows=mixed_windows)
        if batch_size < 1:
            raise InputError(f"a batch of {batch_size} rows; give at least one")
        if self.order.shards.n_rows < batch_size:
            raise InputError(
                f"{store.path} has {self.order.shards.n_rows} training rows, fewer than a batch of {batch_size}; "
                "give a smaller --batch-size or harvest more tokens"
            )
        self.step, self._available = start, available
        self._limit = 2 * pool if mixed_windows else held_shards(store, self.hooks, pool)
        # In the order of windows a shard is read in one group, and a map would keep the space of a removed file.
        self._shards = MappedShards(store, self.hooks, limit=0 if mixed_windows else self._limit)
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
        """Upper bound of the stream's memory: shards (page cache if memory-mapped) and buffers."""
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

    def extend(self, store: Store, available: int) -> None:
        """Read from a newer snapshot of the store, in which the first `available` batches exist."""
        self.store, self._shards.store, self._available = store, store, available

    def close(self) -> None:
        """Stop the background threads and release the shards."""
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
        """Start to gather the next batches into the free buffers."""
        while self._free and (self._available is None or self.step + len(self._pending) < self._available):
            slices = self.order.batch_slices(self.step + len(self._pending), self.batch_size)
            parts = [(part, self._enter(part.epoch, part.group)) for part in slices]
            buffer = self._free.popleft()
            self._pending.append((self._readers.submit(self._fill, buffer, parts), buffer))

    def _take_back(self) -> None:
        """Cancel all requests after a failure, so that the next call requests the same batches again."""
        for future, buffer in self._pending:
            future.exception()  # waits, so that no thread writes to the buffer any more
            self._free.append(buffer)
        self._pending.clear()
        self._group = None
        self._shards.forget_failed()

    def _enter(self, epoch: int, group: int) -> dict[int, list[PendingShard]]:
        """Hold the shards of this group and the next; return this group's, by their index in the order."""
        members = [int(i) for i in self.order.members(epoch, group)]
        if (epoch, group) != self._group:
            self._group = (epoch, group)
            following = self.order.group_after(epoch, group)
            ahead = [int(i) for i in self.order.members(*following)]
            if not self.store.has_rows([self._members[i] for i in ahead]):
                ahead = []
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


def read_threads() -> int:
    """Return how many batches to gather at once."""
    return min(max(READ_THREADS, disk_threads()), READ_AHEAD, cpus())


def training_order(store: Store, *, pool: int, seed: int, mixed_windows: int | None = None) -> tuple[Order, list[int]]:
    """Return the order of a store's training rows, and the number in the store of each shard of the order.

    With `mixed_windows` it is the order of the complete store, also if the store is unfinished.
    """
    if mixed_windows is None:
        members = store.shards("train")
        rows, windows = store.commit.rows[members], store.commit.window[members]
    else:
        shards, rows, windows = store.layout.training_shards()
        members = shards.tolist()
    return Order(Shards(tuple(rows.tolist()), tuple(windows.tolist())), pool, seed, mixed_windows), members


def shard_bytes(store: Store, hooks: Sequence[str]) -> int:
    """Return the bytes of one shard of the hooks."""
    return sum(store.encoding.row_bytes(store.width(hook)) for hook in hooks) * store.layout.rows_per_shard


def held_shards(store: Store, hooks: Sequence[str], pool: int) -> int:
    """Return how many shards a stream holds: two groups, or more if they are mapped and cost only page cache."""
    more = min(HELD_BYTES, available_memory() // 2) // shard_bytes(store, hooks) if store.mapped else 0
    return min(max(2 * pool, more), max(len(store.shards("train")), 1))


def held_bytes(store: Store, hooks: Sequence[str], pool: int) -> int:
    """Return the bytes of the shards that a stream holds."""
    return held_shards(store, hooks, pool) * shard_bytes(store, hooks)
