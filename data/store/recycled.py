"""Recycled windows: the store's first windows, whose training rows were removed once a training had used them.

The attributes of the Zarr group `recycled` have their number. They are written before the rows are removed, so a file
that is missing is damage in every other window. Held-out rows, tokens, documents and statistics stay.
"""

from __future__ import annotations

from pathlib import Path

from data.errors import DamagedError
from data.store.arrays import group_json
from data.store.chunks import write_json
from data.store.layout import Layout
from data.store.schema import Schema
from data.store.sealed import DIGEST, is_whole, read_json, sealed
from data.system.location import Location

GROUP, WINDOWS = "recycled", "windows"


def recycled_windows(store: Location, schema: Schema) -> int:
    """Return how many of a store's first windows are recycled. Raises DamagedError."""
    file = store / GROUP / "zarr.json"
    if GROUP in schema.arrays:  # a hook of this name
        return 0
    try:
        content = read_json(file)
    except FileNotFoundError:
        return 0
    attributes = content.get("attributes") if isinstance(content, dict) else None
    if not isinstance(attributes, dict) or content != group_json(attributes) or not is_whole(attributes):
        raise DamagedError(f"{file} is damaged: its entry {DIGEST} is not the digest of the others")
    count = attributes.get(WINDOWS)
    if type(count) is not int or not 0 <= count <= schema.layout.n_windows:
        raise DamagedError(f"{file} is damaged: it has {str(count)[:40]} windows of {schema.layout.n_windows}")
    return count


def recycled_shards(layout: Layout, n_windows: int, first: int = 0) -> range:
    """Return the training shards of windows `first` … n_windows − 1."""
    return range(
        max(layout.n_heldout_shards, first * layout.shards_per_window),
        max(layout.n_heldout_shards, min(n_windows * layout.shards_per_window, layout.n_shards)),
    )


def recycle(store: Path, schema: Schema, n_windows: int, *, scratch: Path) -> None:
    """Remove the training rows of the first `n_windows` windows. May be called again after a kill.

    scratch: a folder on the store's file system.
    """
    before = recycled_windows(store, schema)
    if n_windows > before:
        write_json(store / GROUP / "zarr.json", group_json(sealed({WINDOWS: n_windows})), scratch=scratch)
    remove_recycled(store, schema, first=before)


def remove_recycled(store: Path, schema: Schema, *, first: int = 0) -> None:
    """Remove the rows of the recycled windows from window `first` on, which a kill may have left."""
    specs = [schema.arrays[name] for name in schema.per_shard_arrays]
    for shard in recycled_shards(schema.layout, recycled_windows(store, schema), first):
        for spec in specs:
            (store / spec.name / spec.chunk_key(shard)).unlink(missing_ok=True)
