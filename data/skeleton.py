"""Empty arrays of a store: metadata by zarr, so that what we write is what zarr-python would have written.

Not here: names and shapes (schema.py), chunk files (chunks.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr

from data.chunks import write_json
from data.deal import SPLITS
from data.dtypes import fill_value
from data.schema import (
    COMMIT,
    CONTEXT,
    DOCUMENT,
    POSITION,
    TOKENS,
    Schema,
    channel_scale_name,
    codecs,
    group,
    root_attributes,
    stats_arrays,
)

TOKEN_CHUNK_BYTES = 4 << 20


def create_skeleton(path: Path, schema: Schema, provenance: dict[str, Any]) -> None:
    """Write the metadata of every array but `tokens` and `document`, and of the groups, to a folder."""
    layout = schema.layout
    n_rows = layout.n_shards * layout.rows_per_shard
    by_shard = layout.rows_per_shard
    by_window = min(layout.shards_per_window, layout.n_shards)

    for name, (dtype, d) in schema.staged.items():
        is_scale = name not in schema.widths
        shape = (n_rows,) if is_scale else (n_rows, d)
        _create(
            path / name, shape, (by_shard, *shape[1:]), dtype,
            fill=float("nan") if is_scale else fill_value(schema.dtype),
            pipeline=codecs("none" if is_scale else schema.compression, dtype.itemsize),
            attributes={} if is_scale else {"activation_dtype": schema.dtype, "hook": name},
            names=("row",) if is_scale else ("row", "channel"),
        )  # fmt: skip
    if schema.dtype == "int8":
        for hook, d in schema.widths.items():
            _create(path / channel_scale_name(hook), (d,), (d,), np.dtype("<f4"), fill=float("nan"), names=("channel",))
    _create(path / CONTEXT, (n_rows,), (by_shard,), np.dtype("<i4"), fill=-1, names=("row",))
    _create(path / POSITION, (n_rows,), (by_shard,), np.dtype("<i2"), fill=-1, names=("row",))

    columns = schema.commit_columns
    _create(
        path / COMMIT, (layout.n_shards, len(columns)), (by_window, len(columns)), np.dtype("<i8"),
        fill=0, attributes={"columns": columns, "splits": list(SPLITS)}, names=("shard", "column"), separator="/",
    )  # fmt: skip
    for name, whole, dtype, attributes in stats_arrays(schema):
        _create(path / name, whole, (by_window, *whole[1:]), dtype, fill=0, attributes=attributes, separator="/")
    write_json(path / "zarr.json", group(root_attributes(schema, provenance)))
    for folder in {p.parent for name, *_ in stats_arrays(schema) for p in (path / name, (path / name).parent)}:
        write_json(folder / "zarr.json", group({}))


def create_token_arrays(path: Path, n_contexts: int, context_size: int) -> tuple[zarr.Array[Any], zarr.Array[Any]]:
    """The arrays `tokens` and `document`, int32 [n_contexts, context_size], to be filled in whole chunks."""
    chunks = (min(max(TOKEN_CHUNK_BYTES // (4 * context_size), 1), n_contexts), context_size)
    shape = (n_contexts, context_size)
    names = ("context", "position")
    return (
        _create(path / TOKENS, shape, chunks, np.dtype("<i4"), fill=-1, names=names),
        _create(path / DOCUMENT, shape, chunks, np.dtype("<i4"), fill=-1, names=names),
    )


def _create(
    path: Path,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: np.dtype[Any],
    *,
    fill: float | int,
    pipeline: Any = None,
    attributes: dict[str, Any] | None = None,
    names: tuple[str, ...] | None = None,
    separator: Literal[".", "/"] = ".",
) -> zarr.Array[Any]:
    return zarr.create(
        store=str(path),
        zarr_format=3,
        shape=shape,
        chunks=chunks,
        dtype=dtype.newbyteorder("="),
        fill_value=fill,
        codecs=pipeline or codecs("none", dtype.itemsize),
        chunk_key_encoding=("default", separator),
        attributes=attributes or {},
        dimension_names=names,
        config={"write_empty_chunks": True},
    )
