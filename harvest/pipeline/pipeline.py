"""The overlapping stages of a harvest: forward pass, copy to the host, disk, sealing.

    calling thread  runs the model, encodes each hook's rows, and copies them in writing order into a free buffer
    writer thread   waits for the copy, checks the values, and writes the rows
    statistics      adds the rows to the statistics meanwhile, in one thread: its many short operations on arrays would
                    wait for Python's interpreter lock in two
    sealing thread  makes the rows written so far durable every few seconds, and renames the files of a full window into
                    the store, while the writer continues

The first two threads reuse N_BUFFERS buffers, so memory is bounded and no batch allocates any.

On a GPU the calling thread only queues work. A second stream copies the rows to pinned memory, checks them and sums
their statistics while the model runs on the next batch, so the host waits for the GPU only in the writer thread.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from data.errors import Stopped, WindowDamagedError
from data.store.encodings import as_stored
from data.store.layout import RowRange
from data.store.schema import Schema
from data.store.writing.window_writer import WindowWriter
from data.system.compiler import has_triton
from data.system.limits import write_threads
from harvest.gpu.transfer import to_device
from harvest.model.base import LanguageModel
from harvest.pipeline.finite import check_finite
from harvest.pipeline.jobs import Clock, HostBuffer, Job, Sync

if TYPE_CHECKING:
    from harvest.gpu.window_sums import WindowSums

SYNC_SECONDS = 5.0
N_BUFFERS = 3


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
        self._second = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._free: queue.Queue[HostBuffer] = queue.Queue()
        for _ in range(N_BUFFERS):
            self._free.put(self._allocate(n_rows))
        self._jobs: queue.Queue[Job | Sync | None] = queue.Queue()  # None ends the writer
        self._sums_on_gpu = device.type == "cuda" and has_triton()
        self._window: tuple[WindowWriter, WindowSums | None] | None = None  # that of the last batch
        self._unsynced: int | None = None  # the contexts that are done with the last batch, if no sync has followed
        self._synced = time.monotonic()
        self._failure: BaseException | None = None
        self._sealer = ThreadPoolExecutor(1, thread_name_prefix="seal")
        self._seals: list[Future[None]] = []
        self.damaged: dict[int, str] = {}  # window → why it could not be sealed
        threads = write_threads(on_gpu=device.type == "cuda")
        self._write_threads = ThreadPoolExecutor(threads, thread_name_prefix="write")
        self._statistics = ThreadPoolExecutor(1, thread_name_prefix="statistics")
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
            index = to_device(rows - first_row, self._device)
            ids = to_device(tokens.astype(np.int64), self._device)
            skip, n = self._schema.skip_positions, len(rows)
            sums = self._sums_of(window)
            kept: dict[str, torch.Tensor] = {}  # the rows on the GPU, for their statistics

            def on_activation(name: str, value: torch.Tensor) -> None:
                flat = (value[:, skip:] if skip else value).reshape(-1, value.shape[-1])
                encoded = self._schema.encoding.encode(flat, self._channel_scales.get(name))
                for suffix, part in encoded.items():
                    ordered = self._copy(part, index, buffer.arrays[name + suffix][:n])
                    if sums is not None:
                        kept[name + suffix] = ordered

            self._model.capture(ids, on_activation)
            if sums is not None:  # only now, so that a failure in the pass leaves the sums as they were
                with self._on_second_stream():
                    buffer.finite.copy_(sums.add(kept, rows, ranges), non_blocking=True)
            if self._second is not None:
                computed = torch.cuda.current_stream(self._device).record_event()
                copied = self._second.record_event()
        self._jobs.put(Job(buffer, rows, ranges, window, computed, copied))
        self._unsynced = contexts_done
        if last or time.monotonic() - self._synced > SYNC_SECONDS:
            self._sync(last=last)

    def _sums_of(self, window: WindowWriter) -> WindowSums | None:
        """Return the sums on the GPU of a window that is being filled; None if the host takes them."""
        if self._window is None or self._window[0] is not window:
            sums = None
            if self._sums_on_gpu:
                from harvest.gpu.window_sums import WindowSums

                with self._on_second_stream():
                    sums = WindowSums(self._schema, window.first_shard, window.sums, self._channel_scales, self._device)
            self._window = window, sums
        return self._window[1]

    def _sync(self, *, last: bool) -> None:
        """Queue a request to make the batches so far durable."""
        assert self._window is not None
        assert self._unsynced is not None
        window, sums = self._window
        with self._on_second_stream():
            arrays = None if sums is None else sums.arrays()
        copied = None if self._second is None else self._second.record_event()
        self._jobs.put(Sync(window, self._unsynced, last, arrays, copied))
        self._unsynced, self._synced = None, time.monotonic()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if self._unsynced is not None and (kind is None or issubclass(kind, Stopped)):
            self._sync(last=False)
        self._jobs.put(None)
        self._writer.join()
        self._statistics.shutdown(wait=True)
        self._write_threads.shutdown(wait=True)
        self._sealer.shutdown(wait=True)
        if kind is None:
            self.check()

    def _copy(self, values: torch.Tensor, index: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """Copy the rows `index` of `values` to the host, on a GPU while it continues computing.

        Returns the rows where the model runs.
        """
        if self._second is None:
            return torch.index_select(values, 0, index, out=out)
        rows = values.index_select(0, index)
        self._second.wait_stream(torch.cuda.current_stream(self._device))
        with self._on_second_stream():
            out.copy_(rows, non_blocking=True)
        rows.record_stream(self._second)
        return rows

    def _on_second_stream(self) -> AbstractContextManager[object]:
        return nullcontext() if self._second is None else torch.cuda.stream(self._second)

    def _free_buffer(self) -> HostBuffer:
        """Wait for a free buffer. Raises the error of a later stage, if there was one."""
        while True:
            self.check()
            try:
                return self._free.get(timeout=0.2)
            except queue.Empty:
                continue

    def check(self) -> None:
        """Raise the error of another thread, if there was one."""
        if self._failure is not None:
            raise self._failure
        for seal in [seal for seal in self._seals if seal.done()]:
            self._seals.remove(seal)
            seal.result()

    def _allocate(self, n_rows: int) -> HostBuffer:
        pin = self._device.type == "cuda"
        arrays = {
            hook + suffix: part
            for hook, d in self._schema.widths.items()
            for suffix, part in self._schema.encoding.empty(n_rows, d, pin=pin).items()
        }
        return HostBuffer(arrays, torch.zeros((), dtype=torch.bool, pin_memory=pin))

    def _write_jobs(self) -> None:
        """Carry out the queued jobs until there is a None; run by the writer thread."""
        try:
            while (job := self._jobs.get()) is not None:
                self._write(job) if isinstance(job, Job) else self._make_durable(job)
        except BaseException as error:  # the next `submit` raises it, or the end of the context
            self._failure = error

    def _write(self, job: Job) -> None:
        """Write the rows of a batch, and free its buffer."""
        for stage, event in (("forward", job.computed), ("copy", job.copied)):
            if event is not None:
                with self._clock.time(stage):
                    event.synchronize()
        if not (self._sums_on_gpu and job.buffer.finite):
            check_finite(self._schema, job.buffer.arrays, job.rows)
        stored = self._as_stored(job)
        added = None if self._sums_on_gpu else self._statistics.submit(self._add_statistics, job, stored)
        with self._clock.time("disk"):
            n_bytes = job.window.write(job.ranges, stored, self._write_threads)
        if added is not None:
            added.result()
        self._wrote(len(job.rows), n_bytes, self._clock.bottleneck)
        self._free.put(job.buffer)

    def _add_statistics(self, job: Job, stored: dict[str, NDArray[Any]]) -> None:
        """Add the rows of a batch to the statistics of its window."""
        with self._clock.time("statistics"):
            job.window.add_statistics(job.rows, job.ranges, stored)

    def _make_durable(self, sync: Sync) -> None:
        """Have the sealing thread sync the rows written so far, and seal a full window."""
        if sync.copied is not None:
            sync.copied.synchronize()
        if sync.sums is not None:
            sync.window.set_sums(sync.sums)
        with self._clock.time("disk"):
            for before in list(self._seals):  # at most one is under way, so that rows to sync do not pile up
                before.result()
        record = sync.window.record(sync.contexts_done)
        self._seals.append(self._sealer.submit(self._sync_behind, record, sync.window if sync.last else None))

    def _sync_behind(self, record: Callable[[], None], full: WindowWriter | None) -> None:
        """Make written rows durable in the sealing thread, and seal a window if it is full."""
        record()
        if full is not None:
            self.seal(full)

    def seal(self, window: WindowWriter) -> None:
        """Seal a window in this thread; if its rows are not those written, add it to `damaged`."""
        with self._clock.time("seal"):
            try:
                window.seal()
            except WindowDamagedError as error:
                self.damaged[window.window] = str(error)

    def _as_stored(self, job: Job) -> dict[str, NDArray[Any]]:
        """Return the job's rows as NumPy arrays of the stored types: array name → [n, d]."""
        n = len(job.rows)
        return {
            name: as_stored(values[:n], self._schema.activation_arrays[name][0])
            for name, values in job.buffer.arrays.items()
        }
