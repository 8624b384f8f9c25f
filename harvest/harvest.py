"""A harvest from end to end: tokens, model, store, windows, finish. Every step goes on where a stopped run left it.

Not here: text into contexts (contexts.py), the stages that overlap (pipeline.py), what is written where (data/).
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from data.command.progress import Bar
from data.command.sizes import human_bytes
from data.errors import InputError, Stopped, StoreError, WindowDamagedError
from data.store.chunks import write_json
from data.store.encodings import ENCODINGS, channel_scales, is_finite
from data.store.reader import Store, open_store
from data.store.sealed import sealed
from data.store.writing.create import begin, create
from data.store.writing.lifecycle import committed_windows, finish, staging_path
from data.store.writing.window_writer import WindowWriter
from data.system.location import Location, exists
from data.system.lock import locked
from harvest.disk_space import check_free_space, check_space_beside
from harvest.inputs import Inputs
from harvest.model.base import LanguageModel, ModelFacts
from harvest.model.load import load
from harvest.model.precision import ReducedPrecisionModel, relative_errors
from harvest.overwrite import discard, place_for, remove_old, replace, replaces_at_creation
from harvest.packed_dataset import PackedDataset, tokens_to_contexts
from harvest.pipeline import Pipeline
from harvest.request import Request, expected_schema, make_schema
from harvest.resume import check_settings
from harvest.text.rows import ReadingStopped
from harvest.worker import Worker, wait_for, worker_lock

CALIBRATION_CONTEXTS = 64  # for int8's channel scales


@dataclass(frozen=True)
class Outcome:
    """A finished harvest: the store, and the speed of its steady state (without loading and the first batch, in which
    the model is compiled if it is; None if nothing was run)."""

    store: Store
    tokens_per_second: float | None
    compile_seconds: float | None
    text_ended: bool


def run(
    request: Request, inputs: Inputs, settings: dict[str, Any], out: Location, *, device: torch.device, worker: Worker,
    stop: threading.Event, overwrite: bool = False, quiet: bool = False,
) -> Outcome:  # fmt: skip
    """Harvest into `out`, or continue there. Raises InputError, or Stopped once `stop` is set.

    With `overwrite` the store in `out` is replaced (overwrite.py).
    """
    with locked(worker_lock(out, worker.rank), f"--out {out}"):
        place = place_for(out, settings, overwrite=overwrite)
        if isinstance(out, Path) and place != out:
            check_space_beside(out, expected_schema(request, inputs.facts))
        staging = staging_path(place)
        begun = staging.exists()
        try:
            staging.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"--out {out}: cannot be written there ({error.strerror}); choose another --out"
            ) from error
        try:
            return _run(
                request, inputs, settings, place, out, device=device, worker=worker, stop=stop, quiet=quiet,
                removes=place == out and replaces_at_creation(out, overwrite=overwrite),
            )  # fmt: skip
        except ReadingStopped:
            raise
        except InputError:
            # A mistake noticed late leaves nothing in the way.
            if place != out and exists(staging):
                discard(place)
            elif not begun and worker.rank == 0 and not exists(out / "zarr.json"):
                shutil.rmtree(staging, ignore_errors=True)
            raise


def _run(
    request: Request, inputs: Inputs, settings: dict[str, Any], place: Location, out: Location, *,
    device: torch.device, worker: Worker, stop: threading.Event, quiet: bool, removes: bool,
) -> Outcome:  # fmt: skip
    """Harvest at `place`, which becomes `out` after the first window. `removes`: a store in `out` is in the way."""
    staging = staging_path(place)
    if worker.rank == 0 and (removes or not exists(place / "zarr.json")):
        write_json(staging / "settings.json", sealed(settings))
        begin(place)
        model = load_for(request, inputs.facts, device)
        packed = tokens_to_contexts(request, inputs, staging, stop=stop, quiet=quiet)
        if removes:
            remove_old(out)
        create_store(request, inputs, settings, place, packed, model, device)
        if not quiet:
            for note in packed.notes():
                click.echo(note, err=True)
    else:
        made = lambda: set() if exists(out / "zarr.json") else {0}  # noqa: E731
        if worker.rank:
            wait_for(made, f"rank 0 to tokenise the text and create {out}", out, worker, stop)
        check_settings(place, settings)  # which a worker that was the first to start could not compare before
        model = load_for(request, inputs.facts, device)
    store = open_store(place)
    check_same_path(store, model)
    if place != out:
        fill(store, model, request, device=device, worker=worker, stop=stop, quiet=quiet, most=1)
        replace(place, out)
        store = open_store(out)
    speed = fill(store, model, request, device=device, worker=worker, stop=stop, quiet=quiet)
    if worker.rank == 0:
        wait_for(lambda: lacking_ranks(store, worker.world_size), "the windows of other workers", out, worker, stop)
        finish(out)
    return Outcome(open_store(out), speed, model.compile_seconds, store.layout.n_contexts < request.n_contexts)


def lacking_ranks(store: Store, world_size: int) -> set[int]:
    """The workers whose windows are not all committed."""
    committed = committed_windows(store.path, store.schema)
    return {rank for rank in range(world_size) if set(store.layout.worker_windows(rank, world_size)) - committed}


def load_for(request: Request, facts: ModelFacts, device: torch.device) -> LanguageModel:
    """The model, computed as the request says. Raises InputError where it cannot be."""
    compute = request.compute
    model = load(
        facts, request.hooks, request.layers, processing=request.processing, device=device,
        compiled=compute.compiled(request.n_tokens, device),
    )  # fmt: skip
    if compute.compiling == "yes" and not model.compiled:
        raise InputError(f"--compile yes: {facts.label} runs in TransformerLens with these hooks; give --compile no")
    return model if compute.precision == "float32" else ReducedPrecisionModel(model, compute.precision, device)


def create_store(
    request: Request, inputs: Inputs, settings: dict[str, Any], out: Location, packed: PackedDataset,
    model: LanguageModel, device: torch.device,
) -> None:  # fmt: skip
    """Make the store appear, with tokens and provenance, and no rows yet."""
    schema = make_schema(request, model.widths, packed.n_contexts, packed.n_heldout)
    check_free_space(out, schema)
    facts, source = inputs.facts, inputs.source
    digest = hashlib.sha256()

    def contexts() -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        for tokens, document in packed.contexts():
            digest.update(tokens.astype("<i4").tobytes())
            yield tokens, document

    def provenance() -> dict[str, Any]:
        return {
            "settings": settings,
            "model": {
                "name": facts.label, "revision": facts.revision, "sha256": inputs.model_fingerprint,
                "processing": request.processing, "forward_path": model.path, "precision": request.compute.precision,
                "compiled": model.compiled, "relative_error": errors,
                "n_layers": facts.n_layers, "d_model": facts.d_model,
            },
            "tokens": {
                "dataset": source.label, "dataset_fingerprint": source.fingerprint, "sha256": digest.hexdigest(),
                "tokenizer_sha256": inputs.tokenizer.fingerprint, "separator_token": inputs.tokenizer.separator,
                "special_tokens": settings["--special-tokens"], "null_rows": packed.stream.n_null,
                "prefix_token": packed.prefix, "context_size": request.context_size, "n_contexts": packed.n_contexts,
                "text_ended": packed.n_contexts < request.n_contexts,
            },
        }  # fmt: skip

    some = next(packed.contexts())[0]
    errors = relative_errors(model, on_device(some[: request.batch_size], device))
    scales: dict[str, NDArray[np.float32]] = {}
    if ENCODINGS[request.dtype].channel_scales:
        scales = calibrate(model, on_device(some[:CALIBRATION_CONTEXTS], device))
    create(out, schema, contexts, provenance, scales)


def on_device(tokens: NDArray[np.int32], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(tokens.astype(np.int64)).to(device)


def calibrate(model: LanguageModel, tokens: torch.Tensor) -> dict[str, NDArray[np.float32]]:
    """int8's channel scales from some contexts, int64 [n, context_size]: hook → float32 [d]."""
    scales: dict[str, NDArray[np.float32]] = {}

    def on_activation(name: str, value: torch.Tensor) -> None:
        if not is_finite(value):
            raise InputError(f"the model computes values in {name} that are not finite, which no store keeps")
        scales[name] = channel_scales(value.flatten(0, -2)).cpu().numpy()

    model.capture(tokens, on_activation)
    return scales


def check_same_path(store: Store, model: LanguageModel) -> None:
    """Raise InputError where a store was begun with another forward path."""
    recorded = store.provenance["model"]["forward_path"]
    if recorded != model.path:
        raise InputError(
            f"--model: {store.path} was begun with the forward path {recorded}, which now is {model.path}; continue it "
            "with the same version, or give --overwrite"
        )


def fill(
    store: Store, model: LanguageModel, request: Request, *, device: torch.device, worker: Worker,
    stop: threading.Event, quiet: bool, most: int | None = None,
) -> float | None:  # fmt: skip
    """Run this worker's windows, or the first `most` of those that lack.

    Returns tokens a second, the first batch left out, the sealing included.
    """
    schema, layout = store.schema, store.layout
    committed = committed_windows(store.path, schema)
    owned = layout.worker_windows(worker.rank, worker.world_size)
    todo = [w for w in owned if w not in committed][:most]
    scales = {hook: torch.from_numpy(scale.copy()).to(device) for hook, scale in store.channel_scales().items()}
    tokens_per_row = schema.context_size / layout.rows_per_context
    total = sum(map(layout.window_rows, owned))
    pending = sum(map(layout.window_rows, todo))
    bar = Bar(
        total=int(total * tokens_per_row), initial=int((total - pending) * tokens_per_row), desc="harvesting",
        unit="tok", unit_scale=True, disable=quiet or worker.rank > 0,
    )  # fmt: skip
    written = 0
    marks: list[tuple[float, int]] = []

    def wrote(rows: int, n_bytes: int) -> None:
        nonlocal written
        written += n_bytes
        bar.update(round(rows * tokens_per_row))
        bar.set_postfix_str(f"{human_bytes(written)} written, bottleneck {pipeline.clock.bottleneck}", refresh=False)
        marks.append((time.perf_counter(), rows))

    again: set[int] = set()
    with bar:
        while todo:
            with Pipeline(
                model, schema, batch_size=request.batch_size, device=device, channel_scales=scales, wrote=wrote
            ) as pipeline:
                for window in todo:
                    fill_window(store, window, request.batch_size, pipeline, bar, stop)
            for window, why in pipeline.damaged.items():
                if window in again:
                    raise StoreError(f"{why}; it was before: check the disk")
                Bar.write(why, file=sys.stderr)
                bar.update(-round(layout.window_rows(window) * tokens_per_row))
            todo = sorted(pipeline.damaged)
            again |= set(todo)
    if len(marks) < 2:
        return None
    rows_after_first = sum(rows for _, rows in marks[1:])
    return rows_after_first * tokens_per_row / (time.perf_counter() - marks[0][0])


def fill_window(
    store: Store, window: int, batch_size: int, pipeline: Pipeline, bar: Bar, stop: threading.Event
) -> None:
    """Run a window's contexts that are not done, and seal it. Raises Stopped once `stop` is set."""
    layout = store.layout
    staging = WindowWriter(store.path, staging_path(store.path), store.schema, window)
    begin, end = layout.window_contexts(window)
    try:
        done = staging.resume()
    except WindowDamagedError as error:
        Bar.write(str(error), file=sys.stderr)
        staging, done = WindowWriter(store.path, staging_path(store.path), store.schema, window), 0
    bar.update(round(max(done - begin, 0) * store.schema.context_size))
    if done >= end:  # stopped while it was being sealed
        pipeline.seal(staging)
        return
    batches = list(layout.window_batches(window, batch_size, done))
    offset = batches[0][0]
    tokens = store.tokens(np.arange(offset, batches[-1][1]))  # at once: an object store answers slowly
    for first, last in batches:
        if stop.is_set():
            raise Stopped
        first_row = first * layout.rows_per_context
        rows, ranges = layout.writing_order(window, first_row, last * layout.rows_per_context)
        pipeline.submit(
            tokens[first - offset : last - offset], first_row, rows, ranges, staging,
            contexts_done=min(last, end), last=last >= end,
        )  # fmt: skip
