"""Write arrays to a store: create it, fill its windows, finish. Every step continues where a stopped one left off."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from data.command.progress import Bar
from data.errors import InputError, Stopped, StoreError, WindowDamagedError
from data.store.chunks import write_json
from data.store.encodings import as_stored, channel_scales, is_finite
from data.store.reader import Store, open_store
from data.store.schema import Schema
from data.store.sealed import sealed
from data.store.writing.create import begin, create
from data.store.writing.lifecycle import committed_windows, finish, staging_path
from data.store.writing.window_writer import WindowWriter
from data.system.location import Location, exists
from harvest.arrays.source import ArraySource
from harvest.output.overwrite import claimed, discard, remove_old, replace, replaces_at_creation, tidy
from harvest.output.resume import check_settings
from harvest.output.worker import Worker
from harvest.progress import FillProgress

BATCH_BYTES = 32 << 20  # of float32 rows in memory at once
CALIBRATION_CONTEXTS = 64
SYNC_SECONDS = 5.0


@dataclass(frozen=True)
class ArrayHarvest:
    """The writing of arrays into the store `out`; `run` begins or continues it."""

    source: ArraySource
    schema: Schema
    settings: dict[str, Any]
    out: Location
    overwrite: bool = False
    finished: Store | None = None  # the store at `out` if it is already complete
    quiet: bool = False
    stop: threading.Event = field(default_factory=threading.Event)  # set by a signal

    def run(self) -> Store:
        """Fill and finish the store. Raises InputError, or Stopped once `stop` is set."""
        if self.finished is not None:
            tidy(self.finished)
            self._note(f"{self.out} is complete; nothing to do")
            return self.finished
        with claimed(self.out, Worker(), self.settings, self.schema, overwrite=self.overwrite) as place:
            staging = staging_path(place)
            begins = not staging.exists() and not exists(place / "zarr.json")
            try:
                return self._run_at(place)
            except InputError:
                if begins or place != self.out:  # bad input leaves nothing
                    discard(place)
                raise

    def _run_at(self, place: Location) -> Store:
        """Write at `place`. If that is not `out`, the store moves to `out` after its first window."""
        removes_old = place == self.out and replaces_at_creation(self.out, overwrite=self.overwrite)
        if removes_old or not exists(place / "zarr.json"):
            self._create(place, removes_old=removes_old)
        else:
            check_settings(place, self.settings)
        if place != self.out:
            self._fill(open_store(place), most=1)
            replace(place, self.out)
        self._fill(open_store(self.out))
        finish(self.out)
        return open_store(self.out)

    def _create(self, place: Location, *, removes_old: bool) -> None:
        """Create the store without rows."""
        staging = staging_path(place)
        staging.mkdir(parents=True, exist_ok=True)
        write_json(staging / "settings.json", sealed(self.settings))
        begin(place)
        scales: dict[str, NDArray[np.float32]] = {}
        if self.schema.encoding.channel_scales:
            for hook, rows in self.source.rows(0, min(CALIBRATION_CONTEXTS, self.schema.layout.n_contexts)).items():
                if not is_finite(rows):
                    raise InputError(
                        f"--activations: {hook} has NaN or infinite values in its first contexts; correct it"
                    )
                scales[hook] = channel_scales(rows).numpy()
        if removes_old:
            remove_old(self.out)
        create(place, self.schema, self.source.contexts(), self.source.provenance(self.settings), scales)
        layout, split = self.schema.layout, self.source.split
        if split.left_out:
            self._note(f"left out: {split.left_out:,} contexts that share a document with held-out ones")
        if split.n_heldout:
            self._note(f"held out: {split.n_heldout:,} of {layout.n_contexts:,} contexts")
        else:
            self._note("no context is held out, so train cannot validate on this store and analyze cannot measure")
        if self.source.unknown:
            self._note(f"unknown, and recorded so: {', '.join(self.source.unknown).replace('_', ' ')}")

    def _fill(self, store: Store, *, most: int | None = None) -> None:
        """Fill and seal the windows that lack, or the first `most` of them.

        Raises StoreError if a window is damaged twice, and Stopped once `stop` is set.
        """
        committed = committed_windows(store.path, self.schema)
        every = range(self.schema.layout.n_windows)
        windows = [window for window in every if window not in committed][:most]
        with FillProgress(self.schema, every, windows, disable=self.quiet) as progress:
            for window in windows:
                try:
                    self._fill_window(store, window, progress)
                except WindowDamagedError as error:
                    Bar.write(str(error), file=sys.stderr)
                    progress.repeat(window)
                    try:
                        self._fill_window(store, window, progress)
                    except WindowDamagedError as again:
                        raise StoreError(f"{again}; it was damaged before: check the disk") from again

    def _fill_window(self, store: Store, window: int, progress: FillProgress) -> None:
        """Write the contexts that a window still lacks, and seal it."""
        layout, schema = self.schema.layout, self.schema
        scales = {hook: torch.from_numpy(scale.copy()) for hook, scale in store.channel_scales().items()}
        writer = WindowWriter(store.path, staging_path(store.path), schema, window)
        begin, end = layout.window_contexts(window)
        done = writer.resume()
        progress.skip(max(done - begin, 0))
        synced = time.monotonic()
        if done < end:
            for first, last in layout.window_batches(window, self.batch_size, done):
                if self.stop.is_set():
                    writer.sync(first)
                    raise Stopped
                first_row = first * layout.rows_per_context
                rows, ranges = layout.writing_order(window, first_row, last * layout.rows_per_context)
                arrays = self._encoded(self.source.rows(first, last), rows - first_row, first_row, scales)
                n_bytes = writer.write(ranges, arrays)
                writer.add_statistics(rows, ranges, arrays)
                progress.wrote(len(rows), n_bytes, "disk")
                if time.monotonic() - synced > SYNC_SECONDS:
                    writer.sync(min(last, end))
                    synced = time.monotonic()
            writer.sync(end)
        writer.seal()

    @property
    def batch_size(self) -> int:
        """Contexts that are read at once."""
        row_bytes = 4 * sum(self.schema.widths.values())
        return max(1, BATCH_BYTES // (row_bytes * self.schema.layout.rows_per_context))

    def _encoded(
        self, batch: Mapping[str, torch.Tensor], index: NDArray[np.int64], first_row: int,
        scales: Mapping[str, torch.Tensor],
    ) -> dict[str, NDArray[Any]]:  # fmt: skip
        """Return rows of a batch as stored: array name → [n, d]. Raises InputError if a value is not finite."""
        encoding, order = self.schema.encoding, torch.from_numpy(index)
        arrays = {}
        for hook, rows in batch.items():
            encoded = encoding.encode(rows[order], scales.get(hook))
            unstorable = encoding.first_unstorable(encoded)
            if unstorable is not None:
                raise self._refusal(hook, first_row + int(index[unstorable[0]]), rows[order][unstorable[0]])
            for suffix, values in encoded.items():
                arrays[hook + suffix] = as_stored(values, self.schema.activation_arrays[hook + suffix][0])
        return arrays

    def _refusal(self, hook: str, row: int, values: torch.Tensor) -> InputError:
        """Return the error for a row, of this number in the store, that cannot be stored."""
        context, position = divmod(row, self.schema.layout.rows_per_context)
        number, encoding = int(self.source.split.contexts[context]), self.schema.encoding
        where = f"{hook} in context {number}, position {position + self.schema.skip_positions}"
        if bool(values.isfinite().all()) and encoding.wider is not None:
            return InputError(
                f"--dtype {encoding.name}: a value of {where} is beyond its largest, {encoding.largest:.0f}; "
                f"run again with --dtype {encoding.wider}"
            )
        kind = "NaN" if bool(values.isnan().any()) else "an infinite value"
        return InputError(f"--activations: there is {kind} of {where}, which no store keeps; correct the file")

    def _note(self, text: str) -> None:
        if not self.quiet:
            click.echo(text, err=True)
