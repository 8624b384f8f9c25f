"""Fill windows of a store: run the model on their contexts, write the activations, and seal each window.

A window that was stopped continues where it was; a damaged one is filled again.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from data.command.progress import Bar
from data.errors import Stopped, StoreError, WindowDamagedError
from data.store.reader import Store
from data.store.writing.appended_files import AppendedFiles
from data.store.writing.lifecycle import committed_windows, staging_path
from data.store.writing.window_writer import WindowWriter
from harvest.model.base import LanguageModel
from harvest.output.keep import KeptWindows
from harvest.output.worker import Worker
from harvest.pipeline import Pipeline
from harvest.progress import FillProgress


@dataclass(frozen=True)
class WindowFiller:
    """Fills one worker's windows of `store`.

    batch_size: contexts per batch.
    keep: most bytes of the store on the disk at once (output/keep.py); None: all of it.
    stop: set by a signal.
    files: makes the kind of files that rows are written to, for each window.
    """

    store: Store
    model: LanguageModel
    worker: Worker
    batch_size: int
    device: torch.device
    keep: int | None
    stop: threading.Event
    quiet: bool
    files: Callable[[], AppendedFiles]

    def fill(self, most: int | None = None) -> float | None:
        """Fill and seal the windows, or the first `most` that lack; return the speed in tokens per second.

        Raises StoreError if a window is damaged twice, and Stopped once `stop` is set.
        """
        store, schema = self.store, self.store.schema
        owned = store.layout.worker_windows(self.worker.rank, self.worker.world_size)
        committed = committed_windows(store.path, schema)
        windows = [window for window in owned if window not in committed][:most]
        scales = {hook: torch.from_numpy(x.copy()).to(self.device) for hook, x in store.channel_scales().items()}
        damaged_before: set[int] = set()
        kept = None if self.keep is None else KeptWindows(store, self.keep, self.worker, self.stop)
        with FillProgress(schema, owned, windows, disable=self.quiet or self.worker.rank > 0) as progress:
            while windows:
                with Pipeline(
                    self.model, schema, batch_size=self.batch_size, device=self.device, channel_scales=scales,
                    wrote=progress.wrote,
                ) as pipeline:  # fmt: skip
                    left = deque(windows)
                    while left and self._has_room(kept, left[0], pipeline, progress):
                        self._fill_window(left.popleft(), pipeline, progress)
                for window, why in pipeline.damaged.items():
                    if window in damaged_before:
                        raise StoreError(f"{why}; it was damaged before: check the disk")
                    Bar.write(why, file=sys.stderr)
                    progress.repeat(window)
                damaged_before |= set(pipeline.damaged)
                windows = sorted([*pipeline.damaged, *left])
        return progress.tokens_per_second()

    def _has_room(self, kept: KeptWindows | None, window: int, pipeline: Pipeline, progress: FillProgress) -> bool:
        """Wait for room for a window; return False if another one was damaged meanwhile, which goes first.

        Raises Stopped once `stop` is set.
        """
        if kept is None:
            return True

        def interrupted() -> bool:
            pipeline.check()
            return bool(pipeline.damaged)

        return kept.make_room(window, progress, interrupted)

    def _fill_window(self, window: int, pipeline: Pipeline, progress: FillProgress) -> None:
        """Run the contexts that a window still lacks. Raises Stopped once `stop` is set."""
        store, layout = self.store, self.store.layout
        writer = WindowWriter(store.path, staging_path(store.path), store.schema, window, self.files())
        begin, end = layout.window_contexts(window)
        try:
            done = writer.resume()
        except WindowDamagedError as error:
            Bar.write(str(error), file=sys.stderr)
            writer, done = WindowWriter(store.path, staging_path(store.path), store.schema, window, self.files()), 0
        progress.skip(max(done - begin, 0))
        if done >= end:  # stopped while the window was being sealed
            pipeline.seal(writer)
            return
        batches = list(layout.window_batches(window, self.batch_size, done))
        offset = batches[0][0]
        tokens = store.tokens(np.arange(offset, batches[-1][1]))  # in one read: an object store answers slowly
        for first, last in batches:
            if self.stop.is_set():
                raise Stopped
            first_row = first * layout.rows_per_context
            rows, ranges = layout.writing_order(window, first_row, last * layout.rows_per_context)
            pipeline.submit(
                tokens[first - offset : last - offset], first_row, rows, ranges, writer,
                contexts_done=min(last, end), last=last >= end,
            )  # fmt: skip
