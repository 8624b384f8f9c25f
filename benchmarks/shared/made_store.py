"""Stores of made-up values in GPT-2 small's shape, by the real writer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data.choices import DType
from data.store.encodings import ENCODINGS
from data.store.layout import Layout, choose_rows_per_shard
from data.store.schema import Schema
from data.store.writing.create import create
from data.store.writing.lifecycle import staging_path
from data.store.writing.window_writer import WindowWriter

CONTEXT, D = 256, 768
PROVENANCE = {
    "settings": {},
    "model": {"name": "made-up", "forward_path": "none"},
    "tokens": {"dataset": "made-up"},
}


def empty_store(
    path: Path, n_layers: int, gigabytes: float, dtype: DType = "float16", shards_per_window: int = 32
) -> Schema:
    """Create a store for `gigabytes` of rows, none of which is there."""
    row_bytes = ENCODINGS[dtype].stored.itemsize * D
    n_rows = int(gigabytes * 1e9 / (row_bytes * n_layers))
    n_contexts = n_rows // CONTEXT
    rows_per_shard = choose_rows_per_shard(n_rows, row_bytes)
    layout = Layout(n_contexts, n_contexts // 100, CONTEXT, rows_per_shard, shards_per_window, seed=0)
    schema = Schema(layout, {f"blocks.{i}.hook_mlp_out": D for i in range(n_layers)}, dtype, "none", CONTEXT, 0)
    ids = np.zeros((n_contexts, CONTEXT), dtype=np.int32)
    create(path, schema, [(ids, ids)], PROVENANCE, {})
    return schema


def filled_window(path: Path, schema: Schema, window: int) -> WindowWriter:
    """A window of the store with all its rows, float16 or float32, written and synced, but not sealed."""
    layout = schema.layout
    values = np.random.default_rng(0).normal(size=(layout.rows_per_shard, D)).astype(schema.encoding.stored)
    writer = WindowWriter(path, staging_path(path), schema, window)
    for assignment in layout.assignments(window):
        rows, ranges = assignment.writing_order(assignment.first_row, assignment.first_row + assignment.n_rows)
        for row_range in ranges:
            of_shard, rows = rows[: row_range.count], rows[row_range.count :]
            arrays = dict.fromkeys(schema.widths, values[: row_range.count])
            writer.write([row_range], arrays)
            writer.add_statistics(of_shard, [row_range], arrays)
    writer.sync(layout.window_contexts(window)[1])
    return writer
