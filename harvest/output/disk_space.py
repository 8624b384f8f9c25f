"""The disk space that a harvest needs, and whether it is free."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from data.command.sizes import human_bytes
from data.errors import InputError
from data.store.schema import Schema
from data.store.writing.lifecycle import staging_path
from data.system.location import Location, is_local
from data.system.replace import beside

RESERVE = 1.02  # required free space ÷ counted bytes


def needed_bytes(out: Location, schema: Schema, keep: int | None = None) -> int:
    """Return the most bytes that a harvest has on the local disk at once: the token stream and the store, or `keep`.

    For an object store: the tokens until they are uploaded, then one window that fills while another is uploaded.
    """
    layout = schema.layout
    stream = 4 * layout.n_contexts * schema.context_size
    windows = min(2 * layout.shards_per_window, layout.n_shards) * schema.shard_bytes()
    need = int(RESERVE * (stream + (schema.total_bytes() if is_local(out) else max(windows, 2 * stream))))
    return need if keep is None else min(need, keep)


def check_free_space(out: Location, schema: Schema, keep: int | None = None) -> None:
    """Raise InputError if the disk cannot hold the store (for an object store: its unfinished parts).

    keep: the most bytes that it may have at once.
    """
    need, free = needed_bytes(out, schema, keep), free_bytes(out) + used_bytes(out, staging_path(out))
    if need > free:
        what = "the store needs" if is_local(out) else f"its unfinished parts, in {staging_path(out)}, need"
        raise InputError(
            f"--out {out}: {what} {human_bytes(need)} ({schema.layout.n_rows:,} rows × {len(schema.hooks)} "
            f"hooks in {schema.dtype}), and {human_bytes(free)} are free; give fewer --tokens or --layers, "
            f"a smaller --dtype, or {'another --out' if is_local(out) else 'start it on another disk'}"
        )


def check_space_beside(out: Path, schema: Schema) -> None:
    """Raise InputError if the disk cannot hold a store's first window beside the store that it replaces."""
    layout, place = schema.layout, beside(out)
    window = min(layout.shards_per_window, layout.n_shards) * schema.shard_bytes()
    need = int(RESERVE * (2 * 4 * layout.n_contexts * schema.context_size + window))
    free = free_bytes(out) + used_bytes(place, staging_path(place))
    if need > free:
        raise InputError(
            f"--overwrite: {human_bytes(need)} are needed beside {out}, until the new store can take its place, and "
            f"{human_bytes(free)} are free; free some space, remove {out} first, or give another --out"
        )


def free_bytes(out: Location) -> int:
    """Return the free bytes on the disk of the store's unfinished parts."""
    existing = staging_path(out).absolute()
    while not existing.exists():
        existing = existing.parent
    return shutil.disk_usage(existing).free


def used_bytes(*locations: Location) -> int:
    """Return the bytes on disk below local folders; missing folders and object stores count 0."""
    paths = (location for location in locations if isinstance(location, Path))
    files = (Path(folder) / name for path in paths for folder, _, names in os.walk(path) for name in names)
    return sum(file.stat().st_blocks * 512 for file in files if file.exists())
