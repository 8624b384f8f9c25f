"""The shuffled stream: training batches of all layers at once, in an order known beforehand, read ahead.

A background thread gathers batches into a few reused buffers while the caller computes; each stored row is copied
once, from the map into the batch. The next group of shards is asked from the disk while the present one is read, so
memory is bounded by two groups (`memory_bytes`) and the buffers.

Not here: the order (order.py), which is pure.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray

from data.dtypes import as_torch, stored_dtype
from data.errors import InputError
from data.order import Order, Segment, Shards
from data.reader import Store

DEFAULT_POOL = 12  # shards mixed at a time: 0.95 of a uniform draw's contexts at 10M tokens (mixing.py)
TOUCHED_BYTES = 4096


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
        read_ahead: int = 2,
        pin: bool = False,
    ) -> None:
        self.store, self.hooks, self.batch_size = store, list(hooks or store.hooks), batch_size
        widths = {store.d(hook) for hook in self.hooks}
        if len(widths) > 1:
            raise InputError(f"hooks of different widths {sorted(widths)} cannot share a batch; stream them apart")
        self.d = widths.pop()
        self.order, self._members = training_order(store, pool=pool, seed=seed)
        if self.order.shards.n_rows < batch_size:
            raise InputError(
                f"{store.path} has {self.order.shards.n_rows} training rows, fewer than a batch of {batch_size}; "
                "give a smaller --batch-size or harvest more tokens"
            )
        self.step = start
        self._buffers = [self._buffer(pin) for _ in range(read_ahead + 1)]
        self._free: queue.Queue[int] = queue.Queue()
        self._ready: queue.Queue[int | BaseException] = queue.Queue()
        for i in range(len(self._buffers)):
            self._free.put(i)
        self._held: int | None = None
        self._stop = threading.Event()
        self._maps = _Maps(store, self.hooks)
        self._thread = threading.Thread(target=self._read, args=(start,), name="stream", daemon=True)
        self._thread.start()

    @property
    def memory_bytes(self) -> int:
        """Most that the stream holds: the maps of two groups, and its buffers."""
        shards = min(2 * self.order.pool, len(self._members))
        return shards * shard_bytes(self.store, self.hooks) + sum(b.nbytes for b in self._buffers)

    def __iter__(self) -> Iterator[torch.Tensor]:
        return self

    def __next__(self) -> torch.Tensor:
        if self._stop.is_set():
            raise StopIteration
        if self._held is not None:
            self._free.put(self._held)
            self._held = None
        item = self._ready.get()
        if isinstance(item, BaseException):
            self.close()
            raise item
        self._held = item
        self.step += 1
        return self._tensors[item].transpose(0, 1)

    def close(self) -> None:
        """Stop the background thread and let go of the maps."""
        self._stop.set()
        self._free.put(-1)
        if threading.current_thread() is not self._thread:
            self._thread.join()
        self._maps.keep(set())

    def __enter__(self) -> ShuffledStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _buffer(self, pin: bool) -> NDArray[np.generic]:
        """One batch, layer-major [layers, batch, d]: gathering into [batch, layers, d] is 2 to 3 times slower."""
        dtype = np.dtype(np.float32) if self.store.dtype == "int8" else stored_dtype(self.store.dtype)
        shape = (len(self.hooks), self.batch_size, self.d)
        if not hasattr(self, "_tensors"):
            self._tensors: list[torch.Tensor] = []
        if pin:
            pinned = torch.empty(int(np.prod(shape)) * dtype.itemsize, dtype=torch.uint8, pin_memory=True)
            array = pinned.numpy().view(dtype).reshape(shape)
        else:
            array = np.empty(shape, dtype=dtype)
        self._tensors.append(as_torch(array, "float32" if self.store.dtype == "int8" else self.store.dtype))
        return array

    def _read(self, step: int) -> None:
        try:
            while not self._stop.is_set():
                i = self._free.get()
                if i < 0:
                    return
                self._fill(self._buffers[i], self.order.batch(step, self.batch_size))
                self._ready.put(i)
                step += 1
        except BaseException as error:  # handed to the caller, who raises it
            self._ready.put(error)

    def _fill(self, buffer: NDArray[np.generic], segments: list[Segment]) -> None:
        begin = 0
        for segment in segments:
            self._enter(segment.epoch, segment.group)
            bounds = np.flatnonzero(np.diff(segment.shards, prepend=-1, append=-1))
            for lo, hi in pairwise(bounds):
                shard = self._members[int(segment.shards[lo])]
                rows, count = segment.rows[lo:hi], int(hi - lo)
                for layer, hook in enumerate(self.hooks):
                    self._maps.gather(hook, shard, rows, buffer[layer, begin : begin + count])
                begin += count

    def _enter(self, epoch: int, group: int) -> None:
        """Hold this group and the next; let go of all others."""
        wanted: set[int] = set()
        for e, g in ((epoch, group), self.order.group_after(epoch, group)):
            wanted |= {self._members[int(i)] for i in self.order.group(e, g)}
        self._maps.keep(wanted)


class _Maps:
    """The shards that the stream holds. Those it will need are asked from the disk when they are named."""

    def __init__(self, store: Store, hooks: Sequence[str]) -> None:
        self.store, self.hooks = store, hooks
        self.maps: dict[tuple[str, int], NDArray[np.generic]] = {}
        self.wanted: set[int] = set()

    def keep(self, shards: set[int]) -> None:
        if shards == self.wanted:
            return
        for key in [key for key in self.maps if key[1] not in shards]:
            del self.maps[key]
        for shard in shards - self.wanted:
            for hook in self.hooks:
                _will_need(self.store, hook, shard)
        self.wanted = shards

    def gather(self, hook: str, shard: int, rows: NDArray[np.int64], out: NDArray[np.generic]) -> None:
        """Copy rows of a shard into out [len(rows), d]; int8 is decoded on the way."""
        key = (hook, shard)
        if key not in self.maps:
            self.maps[key] = self.store.stored(hook, shard)
        source = self.maps[key]
        if int(rows[-1]) >= len(source):  # sorted; "clip" below would hide it
            raise IndexError(f"row {int(rows[-1])} of shard {shard}, which has {len(source)}")
        if self.store.dtype == "int8":
            row_scale, channel_scale = self.store.scales(hook, shard)
            np.multiply(source[rows], row_scale[rows, None], out=out)
            np.multiply(out, channel_scale, out=out)
        else:
            np.take(source, rows, axis=0, out=out, mode="clip")


def _will_need(store: Store, hook: str, shard: int) -> None:
    """Ask the kernel to read a shard's file; it does so in the background."""
    fd = os.open(store._array(hook).chunk_path(shard), os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)
    finally:
        os.close(fd)


def training_order(store: Store, *, pool: int, seed: int) -> tuple[Order, list[int]]:
    """The visiting order of a store's training rows, and the store's shard of each of its shards."""
    members = store.shards("train")
    rows = tuple(int(n) for n in store.commit[members, 0])
    windows = tuple(int(w) for w in store.commit[members, 2])
    return Order(Shards(rows, windows), pool=pool, seed=seed), members


def shard_bytes(store: Store, hooks: Sequence[str]) -> int:
    """Bytes of one shard of the hooks, mapped or decoded."""
    return sum(store.d(hook) for hook in hooks) * stored_dtype(store.dtype).itemsize * store.layout.rows_per_shard
