"""Write a store from any source of activations: the way in for rows that come from no language model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data.choices import Compression, DType
from data.errors import InputError, StoreError
from data.store.encodings import ENCODINGS, as_stored, channel_scales
from data.store.layout import SHARDS_PER_WINDOW, Layout, choose_rows_per_shard
from data.store.reader import Store, open_store
from data.store.schema import Schema
from data.store.truth import Truth
from data.store.writing.create import begin, create
from data.store.writing.lifecycle import finish, is_remains, remove_store, staging_path
from data.store.writing.window_writer import WindowWriter
from data.system.location import Location, is_occupied, locate, remove
from data.system.lock import locked

CALIBRATION_CONTEXTS = 64  # a type's scales per channel are measured on the rows of so many contexts

Rows = Mapping[str, torch.Tensor]  # hook → float32 [rows, d]


@dataclass(frozen=True)
class ActivationSource:
    """Activations to be stored, context by context.

    A context is a group of rows that belong together: the tokens of a text, the patches of an image, or a single row
    (`context_size=1`). It has one row per position, for positions `skip_positions` … `context_size` − 1. The first
    `n_heldout` contexts are held out from training.

    widths: hook name → width d of its rows. A name has ASCII letters, digits, `_`, `.` and `-` only.
    batches: yields mappings hook → float32 [rows, d] (NumPy or PyTorch) with any number of rows. In the order in which
        they come, rows are numbered context × (context_size − skip_positions) + position; all hooks have the same rows.
    tokens: int32 [n_contexts, context_size], the token ids; by default −1, for none.
    documents: int32 [n_contexts, context_size], the document that each position belongs to. Rows of one document must
        be either all held out or all for training. By default each context is a document.
    model, dataset: names to show in reports.
    settings: anything else to record, as JSON values.
    truth: the features that the activations are sums of, if they are known; `analyze measures` then compares SAEs with
        them.
    """

    widths: Mapping[str, int]
    n_contexts: int
    batches: Iterable[Mapping[str, Any]]
    context_size: int = 1
    skip_positions: int = 0
    n_heldout: int = 0
    tokens: NDArray[np.int32] | None = None
    documents: NDArray[np.int32] | None = None
    model: str | None = None
    dataset: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    truth: Truth | None = None

    @property
    def provenance(self) -> dict[str, Any]:
        """The store's record of its origin: the members that FORMAT.md asks for, with the names that are known."""
        model = {} if self.model is None else {"name": self.model}
        dataset = {} if self.dataset is None else {"dataset": self.dataset}
        return {"settings": dict(self.settings), "model": model, "tokens": dataset}

    def contexts(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return tokens and documents, int32 [n_contexts, context_size] each. Raises InputError for other shapes."""
        shape = (self.n_contexts, self.context_size)
        tokens = np.full(shape, -1) if self.tokens is None else np.asarray(self.tokens)
        one_per_context = np.broadcast_to(np.arange(self.n_contexts)[:, None], shape)
        documents = one_per_context if self.documents is None else np.asarray(self.documents)
        for name, values in (("tokens", tokens), ("documents", documents)):
            if values.shape != shape:
                raise InputError(f"{name} has shape {values.shape}; give {shape}, contexts and positions")
        if np.isin(documents[: self.n_heldout], documents[self.n_heldout :]).any():
            raise InputError("a document has both held-out and training rows; order the contexts by document")
        return tokens.astype(np.int32), documents.astype(np.int32)


def write_store(
    path: str | Path | Location,
    source: ActivationSource,
    *,
    dtype: DType = "float16",
    compression: Compression = "none",
    seed: int = 0,
    rows_per_shard: int | None = None,
    shards_per_window: int = SHARDS_PER_WINDOW,
) -> Store:
    """Write a store from a source of activations, and open it.

        rows = np.random.default_rng(0).normal(size=(10_000, 64)).astype(np.float32)
        source = ActivationSource({"layer": 64}, n_contexts=10_000, batches=[{"layer": rows}], n_heldout=500)
        store = write_store("data/made.zarr", source)

    path: a folder that does not exist yet, or the address of an object store such as s3://bucket/made.zarr.
    dtype, compression: how activations are stored; FORMAT.md gives the accuracy of each type.
    seed: seed of the shuffle of rows over shards.
    rows_per_shard: by default chosen as FORMAT.md says; a power of two.

    Rows are written as they come, so memory holds one batch (for int8 and int4 also the first 64 contexts). If the
    source fails the unfinished store is removed.

    Raises InputError if `path` exists, if a batch has other hooks or shapes than the source says, if the rows are too
    few or too many, if a value is not finite in the stored type, or if the truth does not fit the source; StoreError
    if no store can have these widths.
    """
    location = locate(str(path) if isinstance(path, Path) else path)
    schema = make_schema(source, dtype, compression, seed, rows_per_shard, shards_per_window)
    with locked(staging_path(location).with_suffix(".lock"), f"store {location}"):
        if is_occupied(location) and not is_remains(location):
            raise InputError(f"{location} exists already; remove it, or choose another path")
        try:
            batches, scales = create_empty(location, source, schema)
            fill(location, schema, batches, scales)
            finish(location)
        except BaseException:
            remove_store(location)
            remove(staging_path(location))
            raise
    return open_store(location)


def make_schema(
    source: ActivationSource,
    dtype: DType,
    compression: Compression,
    seed: int,
    rows_per_shard: int | None,
    shards_per_window: int,
) -> Schema:
    """Return the schema of a store for the source.

    Raises StoreError if there can be none, InputError if the source's truth does not fit it.
    """
    rows_per_context = source.context_size - source.skip_positions
    if not source.widths or rows_per_context < 1:
        raise StoreError("a store needs at least one hook, and at least one row per context")
    if rows_per_shard is None:
        widest = ENCODINGS[dtype].row_bytes(max(source.widths.values()))
        rows_per_shard = choose_rows_per_shard(source.n_contexts * rows_per_context, widest)
    layout = Layout(source.n_contexts, source.n_heldout, rows_per_context, rows_per_shard, shards_per_window, seed)
    if source.truth is not None:
        source.truth.check(source.widths, layout.split_rows("heldout"))
    sizes = None if source.truth is None else source.truth.sizes
    return Schema(layout, dict(source.widths), dtype, compression, source.context_size, source.skip_positions, sizes)


def create_empty(store: Location, source: ActivationSource, schema: Schema) -> tuple[Iterator[Rows], Rows]:
    """Create a store without rows. Return the source's batches, checked, and the scale of each channel, if any."""
    contexts = source.contexts()
    batches = _checked(source.batches, schema)
    scales: dict[str, torch.Tensor] = {}
    if schema.encoding.channel_scales:
        first: list[Rows] = []
        wanted = CALIBRATION_CONTEXTS * schema.layout.rows_per_context
        while sum(_length(batch) for batch in first) < wanted and (batch := next(batches, None)):
            first.append(batch)
        if not first:
            raise InputError("the source has no rows")
        scales = {hook: channel_scales(torch.cat([b[hook] for b in first])[:wanted]) for hook in schema.hooks}
        batches = chain(first, batches)
    begin(store)
    create(
        store, schema, [contexts], source.provenance,
        {hook: scale.numpy() for hook, scale in scales.items()}, source.truth,
    )  # fmt: skip
    return batches, scales


def fill(store: Location, schema: Schema, batches: Iterator[Rows], scales: Rows, n_windows: int | None = None) -> None:
    """Write the rows of a store's windows, or of the first `n_windows`.

    Raises InputError if rows are missing or left over, or if a value is not finite in the stored type.
    """
    layout, row, first, batch = schema.layout, 0, 0, None
    for window in range(layout.n_windows if n_windows is None else n_windows):
        writer = WindowWriter(store, staging_path(store), schema, window)
        end = row + layout.window_rows(window)
        while row < end:
            if batch is None or row == first + _length(batch):
                first, batch = row, next(batches, None)
                if batch is None:
                    raise InputError(f"the source has {row:,} rows where {layout.n_rows:,} were announced")
            last = min(end, first + _length(batch))
            rows, ranges = layout.writing_order(window, row, last)
            arrays = _encoded(schema, batch, rows, first, scales)
            writer.write(ranges, arrays)
            writer.add_statistics(rows, ranges, arrays)
            row = last
        writer.seal()
    if row == layout.n_rows and (row < first + _length(batch or {}) or next(batches, None) is not None):
        raise InputError(f"the source has more rows than the {layout.n_rows:,} announced")


def _encoded(schema: Schema, batch: Rows, rows: NDArray[np.int64], first: int, scales: Rows) -> dict[str, NDArray[Any]]:
    """The rows with these numbers, as stored: array name → values. The batch begins with row number `first`."""
    index = torch.from_numpy(rows - first)
    arrays = {}
    for hook, x in batch.items():
        encoded = schema.encoding.encode(x[index], scales.get(hook))
        unstorable = schema.encoding.first_unstorable(encoded)
        if unstorable is not None:
            row, is_nan = unstorable
            raise InputError(
                f"row {int(rows[row])} of {hook} is {'NaN' if is_nan else 'infinite'} in {schema.dtype}, and a store "
                f"has finite values only; choose another dtype than {schema.dtype}, or correct the source"
            )
        for suffix, values in encoded.items():
            arrays[hook + suffix] = as_stored(values, schema.activation_arrays[hook + suffix][0])
    return arrays


def _checked(batches: Iterable[Mapping[str, Any]], schema: Schema) -> Iterator[Rows]:
    """The batches that have rows, as tensors. Raises InputError for other hooks or shapes than the schema has."""
    for batch in batches:
        if set(batch) != set(schema.widths):
            raise InputError(f"a batch has the hooks {sorted(batch)}; give {sorted(schema.widths)}")
        rows = {hook: torch.as_tensor(batch[hook], dtype=torch.float32, device="cpu") for hook in schema.widths}
        for hook, x in rows.items():
            if x.ndim != 2 or x.shape[1] != schema.widths[hook] or len(x) != _length(rows):
                raise InputError(
                    f"a batch has shape {tuple(x.shape)} for {hook}; give [rows, {schema.widths[hook]}], and as many "
                    "rows for every hook"
                )
        if _length(rows):
            yield rows


def _length(batch: Rows) -> int:
    return len(next(iter(batch.values()))) if batch else 0
