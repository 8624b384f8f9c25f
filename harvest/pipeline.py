"""The overlapping stages of a harvest: forward, copy to the host, disk, seal.

    this thread     forward; each hook is cast, put in the order of its shards, and copied into a free buffer
    writer thread   waits for the copy, checks the values, has the rows written, syncs every few seconds
    sealing thread  checksums, statistics, rename: one full window behind

Buffers go round between the first two, so nothing is allocated per batch and memory is bounded.

Not here: which batches there are (run.py), the files (data/store/writing/window_writer.py).
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from data.errors import InputError, WindowDamagedError
from data.store.encodings import VALUES, as_stored
from data.store.layout import RowRange
from data.store.schema import Schema
from data.store.writing.window_writer import WindowWriter
from data.system.limits import disk_threads
from harvest.model.base import LanguageModel

SYNC_SECONDS = 5.0
N_BUFFERS = 3


@dataclass
class Clock:
    """Seconds that each stage was at work, for telling which one the others wait for."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("forward", "copy", "disk", "seal"), 0.0))

    @contextmanager
    def time(self, stage: str) -> Any:
        begin = time.perf_counter()
        yield
        self.seconds[stage] += time.perf_counter() - begin

    @property
    def bottleneck(self) -> str:
        return max(self.seconds, key=lambda stage: self.seconds[stage])


@dataclass
class Buffer:
    """Rows of one batch on the host, in the order in which they are written; and where they go."""

    arrays: dict[str, torch.Tensor]  # staged array → [rows of a full batch, d], pinned where there is a GPU
    staging: WindowWriter | None = None
    rows: NDArray[np.int64] | None = None  # numbers of the rows
    ranges: list[RowRange] = field(default_factory=list)
    contexts_done: int = 0
    last: bool = False  # of its window
    computed: torch.cuda.Event | None = None  # on a GPU: the forward pass is through
    copied: torch.cuda.Event | None = None  # and its rows have arrived here


class Pipeline:
    """Runs batches through the model into staged windows. Use as a context manager; `submit` in order."""

    def __init__(
        self, model: LanguageModel, schema: Schema, *, batch_size: int, device: torch.device,
        channel_scales: dict[str, torch.Tensor], wrote: Callable[[int, int], None],
    ) -> None:  # fmt: skip
        self.model, self.schema, self.device = model, schema, device
        self.channel_scales, self.wrote = channel_scales, wrote
        self.clock = Clock()
        n_rows = batch_size * schema.layout.rows_per_context
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._free: queue.Queue[Buffer] = queue.Queue()
        for _ in range(N_BUFFERS):
            self._free.put(Buffer(self._allocate(n_rows)))
        self._full: queue.Queue[Buffer | None] = queue.Queue()
        self._failure: BaseException | None = None
        self._sealer = ThreadPoolExecutor(1, thread_name_prefix="seal")
        self._seals: list[Future[None]] = []
        self.damaged: dict[int, str] = {}  # windows that could not be sealed, and why
        self._hands = ThreadPoolExecutor(disk_threads(), thread_name_prefix="write")
        self._writer = threading.Thread(target=self._write, name="writer")
        self._writer.start()

    def submit(
        self, tokens: NDArray[np.int32], first_row: int, rows: NDArray[np.int64], ranges: list[RowRange],
        staging: WindowWriter, *, contexts_done: int, last: bool,
    ) -> None:  # fmt: skip
        """Forward a batch of contexts, int32 [b, context_size], and queue some of its rows for writing.

        `rows` are row numbers in the order of `ranges`; the batch's first row is number `first_row`. Raises whatever
        went wrong in a later stage.
        """
        buffer = self._take_buffer()
        buffer.staging, buffer.rows, buffer.ranges = staging, rows, ranges
        buffer.contexts_done, buffer.last = contexts_done, last
        with self.clock.time("forward"):
            index = torch.from_numpy(rows - first_row).to(self.device)
            ids = torch.from_numpy(tokens.astype(np.int64)).to(self.device)
            skip, n = self.schema.skip_positions, len(rows)

            def on_activation(name: str, value: torch.Tensor) -> None:
                flat = (value[:, skip:] if skip else value).reshape(-1, value.shape[-1])
                encoded = self.schema.encoding.encode(flat, self.channel_scales.get(name))
                for suffix, part in encoded.items():
                    self._copy(part, index, buffer.arrays[name + suffix][:n])

            self.model.capture(ids, on_activation)
            if self._copies is not None:
                buffer.computed, buffer.copied = torch.cuda.Event(), torch.cuda.Event()
                buffer.computed.record()
                buffer.copied.record(self._copies)
        self._full.put(buffer)

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self._full.put(None)
        self._writer.join()
        self._hands.shutdown(wait=True)
        self._sealer.shutdown(wait=True)
        if kind is None:
            self._check()

    def _copy(self, values: torch.Tensor, index: torch.Tensor, out: torch.Tensor) -> None:
        """Copy rows into a host buffer in the order of `index`; a GPU goes on computing meanwhile."""
        if self._copies is None:
            torch.index_select(values, 0, index, out=out)
            return
        rows = values.index_select(0, index)
        self._copies.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._copies):
            out.copy_(rows, non_blocking=True)
        rows.record_stream(self._copies)

    def _take_buffer(self) -> Buffer:
        while True:
            self._check()
            try:
                return self._free.get(timeout=0.2)
            except queue.Empty:
                continue

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        for seal in [seal for seal in self._seals if seal.done()]:
            self._seals.remove(seal)
            seal.result()

    def _allocate(self, n_rows: int) -> dict[str, torch.Tensor]:
        pin = self.device.type == "cuda"
        return {
            hook + suffix: part
            for hook, d in self.schema.widths.items()
            for suffix, part in self.schema.encoding.empty(n_rows, d, pin=pin).items()
        }

    def _write(self) -> None:
        unsynced: Buffer | None = None
        synced = time.monotonic()
        try:
            while (buffer := self._full.get()) is not None:
                assert buffer.staging is not None
                for stage, event in (("forward", buffer.computed), ("copy", buffer.copied)):
                    if event is not None:
                        with self.clock.time(stage):
                            event.synchronize()
                arrays = self._as_stored(buffer)
                self._check_values(buffer, arrays)
                with self.clock.time("disk"):
                    written = buffer.staging.write(buffer.ranges, arrays, self._hands)
                    unsynced = buffer
                    if buffer.last or time.monotonic() - synced > SYNC_SECONDS:
                        buffer.staging.sync(buffer.contexts_done)
                        synced, unsynced = time.monotonic(), None
                if buffer.last:
                    self._seal(buffer.staging)
                self.wrote(len(arrays[self.schema.hooks[0]]), written)
                if unsynced is buffer:  # the buffer goes round; keep what a last sync needs
                    unsynced = Buffer({}, staging=buffer.staging, contexts_done=buffer.contexts_done)
                self._free.put(buffer)
            if unsynced is not None and unsynced.staging is not None:
                unsynced.staging.sync(unsynced.contexts_done)
        except BaseException as error:  # raised by the next submit, or on leaving
            self._failure = error

    def seal(self, staging: WindowWriter) -> None:
        """Seal a window, in this thread; one whose rows are not those that were written is added to `damaged`."""
        with self.clock.time("seal"):
            try:
                staging.seal()
            except WindowDamagedError as error:
                self.damaged[staging.window] = str(error)

    def _seal(self, staging: WindowWriter) -> None:
        for seal in self._seals:
            seal.result()  # at most one window is being sealed while another fills

        self._seals.append(self._sealer.submit(self.seal, staging))

    def _as_stored(self, buffer: Buffer) -> dict[str, NDArray[Any]]:
        assert buffer.rows is not None
        n = len(buffer.rows)
        return {
            name: as_stored(values[:n], self.schema.activation_arrays[name][0])
            for name, values in buffer.arrays.items()
        }

    def _check_values(self, buffer: Buffer, arrays: dict[str, NDArray[Any]]) -> None:
        """Stop at the first row with a value that is not finite in its stored form."""
        assert buffer.rows is not None
        n, encoding = len(buffer.rows), self.schema.encoding
        for hook in self.schema.hooks:
            encoded = {suffix: buffer.arrays[hook + suffix][:n] for suffix in (VALUES, *encoding.row_scales)}
            unstorable = encoding.first_unstorable(encoded)
            if unstorable is not None:
                row, is_nan = unstorable
                self._refuse(hook, int(buffer.rows[row]), is_nan)

    def _refuse(self, hook: str, row: int, is_nan: bool) -> NoReturn:
        context, position = divmod(row, self.schema.layout.rows_per_context)
        position += self.schema.skip_positions
        where = (
            f"{hook} at token {context * self.schema.context_size + position} (context {context}, position {position})"
        )
        encoding = self.schema.encoding
        if not is_nan and encoding.wider is not None:
            raise InputError(
                f"--dtype {encoding.name}: a value of {where} is beyond its largest, {encoding.largest:.0f}; "
                f"run again with --dtype {encoding.wider} and --overwrite"
            )
        raise InputError(
            f"the model computes {'NaN' if is_nan else 'an infinite value'} in {where}, which no store keeps; "
            "check its weights, or leave that layer out with --layers (and --overwrite)"
        )
