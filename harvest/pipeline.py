"""The overlapping stages of a harvest: forward pass, copy to the host, disk, sealing.

    calling thread  runs the model, encodes each hook's rows, and copies them in writing order into a free buffer
    writer thread   waits for the copy, checks the values, writes the rows and adds them to the statistics, syncs every
                    few seconds
    sealing thread  renames the files of the previous window into the store

The first two threads reuse N_BUFFERS buffers, so memory is bounded and no batch allocates any.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
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
    """Seconds of work per stage; the stage with the most is the bottleneck."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("forward", "copy", "disk", "seal"), 0.0))

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Add the time spent in the context to a stage."""
        begin = time.perf_counter()
        yield
        self.seconds[stage] += time.perf_counter() - begin

    @property
    def bottleneck(self) -> str:
        return max(self.seconds, key=lambda stage: self.seconds[stage])


@dataclass(frozen=True)
class HostBuffer:
    """Host memory for the encoded rows of one batch: array name → [rows of a full batch, d], pinned for a GPU."""

    arrays: dict[str, torch.Tensor]


@dataclass(frozen=True)
class Job:
    """Encoded rows of one batch in a buffer, and where they are written."""

    buffer: HostBuffer
    rows: NDArray[np.int64]  # row numbers, in writing order
    ranges: list[RowRange]  # the shards' rows that they become
    window: WindowWriter
    contexts_done: int  # once written, all contexts before this one are
    last: bool  # of its window
    computed: torch.cuda.Event | None  # on a GPU: the forward pass has ended
    copied: torch.cuda.Event | None  # on a GPU: the rows are in the buffer


class Pipeline:
    """Runs batches of contexts through the model and writes their rows into windows.

    A context manager; `submit` batches in order. `wrote` is called after each batch with its number of rows, the bytes
    written, and the name of the slowest stage.
    """

    def __init__(
        self, model: LanguageModel, schema: Schema, *, batch_size: int, device: torch.device,
        channel_scales: dict[str, torch.Tensor], wrote: Callable[[int, int, str], None],
    ) -> None:  # fmt: skip
        self._model, self._schema, self._device = model, schema, device
        self._channel_scales, self._wrote = channel_scales, wrote
        self._clock = Clock()
        n_rows = batch_size * schema.layout.rows_per_context
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._free: queue.Queue[HostBuffer] = queue.Queue()
        for _ in range(N_BUFFERS):
            self._free.put(HostBuffer(self._allocate(n_rows)))
        self._jobs: queue.Queue[Job | None] = queue.Queue()  # None ends the writer
        self._failure: BaseException | None = None
        self._sealer = ThreadPoolExecutor(1, thread_name_prefix="seal")
        self._seals: list[Future[None]] = []
        self.damaged: dict[int, str] = {}  # window → why it could not be sealed
        self._write_threads = ThreadPoolExecutor(disk_threads(), thread_name_prefix="write")
        self._writer = threading.Thread(target=self._write_jobs, name="writer")
        self._writer.start()

    def submit(
        self, tokens: NDArray[np.int32], first_row: int, rows: NDArray[np.int64], ranges: list[RowRange],
        window: WindowWriter, *, contexts_done: int, last: bool,
    ) -> None:  # fmt: skip
        """Run the model on contexts, int32 [batch, context_size], and queue some of their rows for writing.

        `first_row` is the number of the contexts' first row; `rows`, int64 [n], are the numbers of the rows to write,
        in the order of `ranges`. Raises the error of a later stage, if there was one.
        """
        buffer = self._free_buffer()
        computed: torch.cuda.Event | None = None
        copied: torch.cuda.Event | None = None
        with self._clock.time("forward"):
            index = torch.from_numpy(rows - first_row).to(self._device)
            ids = torch.from_numpy(tokens.astype(np.int64)).to(self._device)
            skip, n = self._schema.skip_positions, len(rows)

            def on_activation(name: str, value: torch.Tensor) -> None:
                flat = (value[:, skip:] if skip else value).reshape(-1, value.shape[-1])
                encoded = self._schema.encoding.encode(flat, self._channel_scales.get(name))
                for suffix, part in encoded.items():
                    self._copy(part, index, buffer.arrays[name + suffix][:n])

            self._model.capture(ids, on_activation)
            if self._copies is not None:
                computed, copied = torch.cuda.Event(), torch.cuda.Event()
                computed.record()
                copied.record(self._copies)
        self._jobs.put(Job(buffer, rows, ranges, window, contexts_done, last, computed, copied))

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self._jobs.put(None)
        self._writer.join()
        self._write_threads.shutdown(wait=True)
        self._sealer.shutdown(wait=True)
        if kind is None:
            self._check()

    def _copy(self, values: torch.Tensor, index: torch.Tensor, out: torch.Tensor) -> None:
        """Copy the rows `index` of `values` to the host, on a GPU while it continues computing."""
        if self._copies is None:
            torch.index_select(values, 0, index, out=out)
            return
        rows = values.index_select(0, index)
        self._copies.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._copies):
            out.copy_(rows, non_blocking=True)
        rows.record_stream(self._copies)

    def _free_buffer(self) -> HostBuffer:
        """Wait for a free buffer. Raises the error of a later stage, if there was one."""
        while True:
            self._check()
            try:
                return self._free.get(timeout=0.2)
            except queue.Empty:
                continue

    def _check(self) -> None:
        """Raise the error of another thread, if there was one."""
        if self._failure is not None:
            raise self._failure
        for seal in [seal for seal in self._seals if seal.done()]:
            self._seals.remove(seal)
            seal.result()

    def _allocate(self, n_rows: int) -> dict[str, torch.Tensor]:
        pin = self._device.type == "cuda"
        return {
            hook + suffix: part
            for hook, d in self._schema.widths.items()
            for suffix, part in self._schema.encoding.empty(n_rows, d, pin=pin).items()
        }

    def _write_jobs(self) -> None:
        """Write the queued jobs until there is a None; run by the writer thread."""
        unsynced: Job | None = None
        synced = time.monotonic()
        try:
            while (job := self._jobs.get()) is not None:
                for stage, event in (("forward", job.computed), ("copy", job.copied)):
                    if event is not None:
                        with self._clock.time(stage):
                            event.synchronize()
                self._check_values(job)
                with self._clock.time("disk"):
                    n_bytes = job.window.write(job.rows, job.ranges, self._as_stored(job), self._write_threads)
                    unsynced = job
                    if job.last or time.monotonic() - synced > SYNC_SECONDS:
                        job.window.sync(job.contexts_done)
                        synced, unsynced = time.monotonic(), None
                if job.last:
                    self._seal_behind(job.window)
                self._wrote(len(job.rows), n_bytes, self._clock.bottleneck)
                self._free.put(job.buffer)
            if unsynced is not None:
                unsynced.window.sync(unsynced.contexts_done)
        except BaseException as error:  # the next `submit` raises it, or the end of the context
            self._failure = error

    def seal(self, window: WindowWriter) -> None:
        """Seal a window in this thread; if its rows are not those written, add it to `damaged`."""
        with self._clock.time("seal"):
            try:
                window.seal()
            except WindowDamagedError as error:
                self.damaged[window.window] = str(error)

    def _seal_behind(self, window: WindowWriter) -> None:
        """Seal a window in the sealing thread, while the next one fills; wait for the window before it."""
        for seal in self._seals:
            seal.result()
        self._seals.append(self._sealer.submit(self.seal, window))

    def _as_stored(self, job: Job) -> dict[str, NDArray[Any]]:
        """Return the job's rows as NumPy arrays of the stored types: array name → [n, d]."""
        n = len(job.rows)
        return {
            name: as_stored(values[:n], self._schema.activation_arrays[name][0])
            for name, values in job.buffer.arrays.items()
        }

    def _check_values(self, job: Job) -> None:
        """Raise InputError for the first row with a value that is not finite in its stored form."""
        n, encoding = len(job.rows), self._schema.encoding
        for hook in self._schema.hooks:
            encoded = {suffix: job.buffer.arrays[hook + suffix][:n] for suffix in (VALUES, *encoding.row_scales)}
            unstorable = encoding.first_unstorable(encoded)
            if unstorable is not None:
                index, is_nan = unstorable
                self._refuse(hook, int(job.rows[index]), is_nan)

    def _refuse(self, hook: str, row: int, is_nan: bool) -> NoReturn:
        context, position = divmod(row, self._schema.layout.rows_per_context)
        position += self._schema.skip_positions
        where = (
            f"{hook} at token {context * self._schema.context_size + position} (context {context}, position {position})"
        )
        encoding = self._schema.encoding
        if not is_nan and encoding.wider is not None:
            raise InputError(
                f"--dtype {encoding.name}: a value of {where} is beyond its largest, {encoding.largest:.0f}; "
                f"run again with --dtype {encoding.wider} and --overwrite"
            )
        raise InputError(
            f"the model computes {'NaN' if is_nan else 'an infinite value'} in {where}, which no store keeps; "
            "check its weights, or leave that layer out with --layers (and --overwrite)"
        )
