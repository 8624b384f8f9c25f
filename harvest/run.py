"""A harvest from end to end: tokenise the text, load the model, create the store, fill its windows, finish.

Every step continues where a stopped harvest left off.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from data.command.sizes import human_bytes
from data.errors import InputError
from data.store.chunks import write_json
from data.store.encodings import ENCODINGS
from data.store.reader import Store, open_store
from data.store.schema import Schema
from data.store.sealed import sealed
from data.store.writing.appended_files import AppendedFiles, BufferedFiles
from data.store.writing.create import begin, create
from data.store.writing.lifecycle import committed_windows, finish, staging_path
from data.system.allocator import keep_large_blocks
from data.system.limits import write_threads
from data.system.location import Location, exists
from data.system.lock import LockHeldError, locked
from harvest.fill import WindowFiller
from harvest.inputs import HarvestInputs
from harvest.model.base import LanguageModel
from harvest.model.calibrate import CALIBRATION_CONTEXTS, calibrate
from harvest.model.device_map import DeviceMap
from harvest.model.load import load
from harvest.model.precision import ReducedPrecisionModel, relative_errors
from harvest.output.disk_space import check_free_space
from harvest.output.keep import check_keep
from harvest.output.overwrite import claimed, discard, remove_old, replace, replaces_at_creation, tidy
from harvest.output.provenance import provenance_of
from harvest.output.resume import check_settings
from harvest.output.worker import Worker, finishing_lock, wait_for
from harvest.output.write_speed import write_speed
from harvest.packed_dataset import PackedDataset, pack_dataset
from harvest.request import Request, expected_schema, make_schema
from harvest.text.rows import ReadingStopped


@dataclass(frozen=True)
class Outcome:
    """The store of a harvest, and the harvest's speed in tokens per second and compile time in seconds.

    The store is not complete while other workers have windows to fill. The speed excludes loading and the first batch;
    it is None if at most one batch was run.
    """

    store: Store
    tokens_per_second: float | None = None
    compile_seconds: float | None = None


@dataclass(frozen=True)
class Harvest:
    """A harvest of one text by one model into the store `out`; `run` begins or continues it."""

    request: Request
    inputs: HarvestInputs
    settings: dict[str, Any]  # as the store records them (output/provenance.py)
    out: Location
    device: torch.device
    worker: Worker = field(default_factory=Worker)
    device_map: DeviceMap | None = None  # None: the whole model is on `device`
    keep: int | None = None  # most bytes of the store on the disk at once (output/keep.py)
    overwrite: bool = False  # replace the store at `out` (output/overwrite.py)
    finished: Store | None = None  # the store at `out` if it is already complete
    quiet: bool = False
    stop: threading.Event = field(default_factory=threading.Event)  # set by a signal

    def run(self) -> Outcome:
        """Fill and finish the store. Raises InputError, or Stopped once `stop` is set."""
        if self.finished is not None:
            tidy(self.finished)
            self._note(f"{self.out} is complete; nothing to do")
            return Outcome(self.finished)
        if self.device.type == "cpu":
            keep_large_blocks()
        if self.worker.source:
            self._note(f"{self.worker}, by {self.worker.source}; --worker 0/1 is a harvest by one process")
        schema = expected_schema(self.request, self.inputs.facts)
        with (
            claimed(self.out, self.worker, self.settings, schema, overwrite=self.overwrite) as place,
            self._staging_folder(place),
        ):  # fmt: skip
            return self._run_at(place)

    @contextmanager
    def _staging_folder(self, place: Location) -> Iterator[None]:
        """Make the folder of the store's unfinished parts; bad input noticed late removes what this run began."""
        staging = staging_path(place)
        continues = staging.exists()
        try:
            staging.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"--out {self.out}: cannot be written there ({error.strerror}); choose another --out"
            ) from error
        try:
            yield
        except ReadingStopped:
            raise
        except InputError:
            if place != self.out and exists(staging):
                discard(place)
            elif not continues and self.worker.rank == 0 and not exists(self.out / "zarr.json"):
                shutil.rmtree(staging, ignore_errors=True)
            raise

    def _run_at(self, place: Location) -> Outcome:
        """Harvest at `place`. If that is not `out`, the store moves to `out` after its first window."""
        removes_old = place == self.out and replaces_at_creation(self.out, overwrite=self.overwrite)
        if self.worker.rank == 0 and (removes_old or not exists(place / "zarr.json")):
            model = self._begin(place, removes_old=removes_old)
        else:
            model = self._continue(place)
        store = open_store(place)
        check_same_path(store, model)
        files = self._choose_files(store.schema)
        of_first: float | None = None
        if place != self.out:
            of_first = self.fill(store, model, files, most=1)
            replace(place, self.out)
            store = open_store(self.out)
        speed = self.fill(store, model, files) or of_first
        self._finish(store)
        n_tokens = store.layout.n_contexts * self.request.context_size
        if store.layout.n_contexts < self.request.n_contexts:
            self._note(f"the text ended early: {n_tokens:,} tokens stored of the {self.request.n_tokens:,} asked for")
        return Outcome(open_store(self.out), speed, model.compile_seconds)

    def _finish(self, store: Store) -> None:
        """Finish the store if all its windows are committed, or wait for them; see output/worker.py."""
        if self.worker.end_together:
            if self.worker.rank:
                return
            self._wait_for_workers(store)
        missing = store.layout.n_windows - len(committed_windows(self.out, store.schema))
        if missing:
            self._note(
                f"{self.worker} has filled its windows; other workers have {missing} of {store.layout.n_windows} to "
                "fill, and the one that fills the last finishes the store"
            )
            return
        try:
            with locked(finishing_lock(self.out), f"--out {self.out}"):
                if open_store(self.out).complete:
                    shutil.rmtree(staging_path(self.out), ignore_errors=True)
                else:
                    finish(self.out)
        except LockHeldError:
            self._note("another worker finishes the store")

    def _begin(self, place: Location, *, removes_old: bool) -> LanguageModel:
        """Load the model, tokenise the text, and create the store without rows; return the model."""
        staging = staging_path(place)
        write_json(staging / "settings.json", sealed(self.settings))
        begin(place)
        model = self.load_model()
        packed = pack_dataset(self.request, self.inputs, staging, stop=self.stop, quiet=self.quiet)
        if removes_old:
            remove_old(self.out)
        self.create_store(place, packed, model)
        for note in packed.notes():
            self._note(note)
        return model

    def _continue(self, place: Location) -> LanguageModel:
        """Check that the store, which worker 0 or an earlier run creates, has these settings; return the model."""
        if self.worker.rank:
            creators = lambda: set() if exists(self.out / "zarr.json") else {0}  # noqa: E731
            wait_for(creators, f"rank 0 to tokenise the text and create {self.out}", self.out, self.worker, self.stop)
        check_settings(place, self.settings)  # a worker that started before rank 0 had nothing to compare with
        return self.load_model()

    def load_model(self) -> LanguageModel:
        """Load the model with the requested precision and compilation. Raises InputError if it cannot be loaded so."""
        request, facts, compute = self.request, self.inputs.facts, self.request.compute
        model = load(
            facts, request.hooks, request.layers, processing=request.processing, device=self.device,
            compiled=compute.compiled(request.n_tokens, self.device), device_map=self.device_map, note=self._note,
        )  # fmt: skip
        if compute.compiling == "yes" and not model.compiled:
            raise InputError(
                f"--compile yes: {facts.label} runs in TransformerLens with these hooks; give --compile no"
            )
        return model if compute.precision == "float32" else ReducedPrecisionModel(model, compute.precision, self.device)

    def create_store(self, place: Location, packed: PackedDataset, model: LanguageModel) -> None:
        """Create the store at `place` with tokens, provenance and the channel scales of codes, without rows."""
        schema = make_schema(self.request, model.widths, packed.n_contexts, packed.n_heldout)
        if self.keep is not None:
            check_keep(place, self.keep, schema)
        check_free_space(place, schema, self.keep)
        first_contexts = torch.from_numpy(next(packed.contexts())[0].astype(np.int64))
        error = relative_errors(model, first_contexts[: self.request.batch_size].to(self.device))
        scales: dict[str, NDArray[np.float32]] = {}
        if ENCODINGS[self.request.dtype].channel_scales:
            scales = calibrate(model, first_contexts[:CALIBRATION_CONTEXTS].to(self.device))
        provenance = provenance_of(self.request, self.inputs, self.settings, packed, model, error)
        create(place, schema, packed.contexts(), provenance, scales)

    def fill(
        self, store: Store, model: LanguageModel, files: Callable[[], AppendedFiles], *, most: int | None = None
    ) -> float | None:
        """Fill and seal this worker's windows, or the first `most` that lack; return the speed in tokens per second.

        files: makes the kind of files that rows are written to, for each window.

        Raises StoreError if a window is damaged twice, and Stopped once `stop` is set.
        """
        filler = WindowFiller(
            store, model, self.worker, batch_size=self.request.batch_size, device=self.device, keep=self.keep,
            stop=self.stop, quiet=self.quiet, files=files,
        )  # fmt: skip
        return filler.fill(most)

    def _wait_for_workers(self, store: Store) -> None:
        """Wait until all workers' windows are committed."""

        def unfinished_ranks() -> set[int]:
            committed = committed_windows(store.path, store.schema)
            n = self.worker.world_size
            return {rank for rank in range(n) if set(store.layout.worker_windows(rank, n)) - committed}

        wait_for(unfinished_ranks, "the windows of other workers", self.out, self.worker, self.stop)

    def _choose_files(self, schema: Schema) -> Callable[[], AppendedFiles]:
        """Return the kind of files that the disk takes fastest, and print its speed.

        A small store, for which the speed does not matter, is written through the page cache.
        """
        threads = write_threads(on_gpu=self.device.type == "cuda")
        speed = write_speed(self.out, schema, threads, self.keep)
        if speed is None:
            return BufferedFiles
        rate = speed.bytes_per_second
        token_bytes = schema.total_bytes() / (schema.layout.n_contexts * schema.context_size)
        how = "" if speed.files is BufferedFiles else " by direct writes"
        self._note(f"the disk takes {human_bytes(rate)}/s{how}, which is {rate / token_bytes:,.0f} tokens/s")
        return speed.files

    def _note(self, text: str) -> None:
        if not self.quiet:
            click.echo(text, err=True)


def check_same_path(store: Store, model: LanguageModel) -> None:
    """Raise InputError if the store was begun with another forward path than the model's."""
    recorded = store.provenance["model"]["forward_path"]
    if recorded != model.path:
        raise InputError(
            f"--model: {store.path} was begun with the forward path {recorded}, and the installed version uses "
            f"{model.path}; continue with the version that began it, or give --overwrite"
        )
