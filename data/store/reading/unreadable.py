"""The error for a shard whose rows cannot be read: they were removed after their use, or are damaged."""

from __future__ import annotations

from data.errors import DamagedError, RecycledError
from data.store.recycled import recycled_shards, recycled_windows
from data.store.schema import Schema
from data.system.location import Location


def unreadable_shard(store: Location, schema: Schema, shard: int, error: DamagedError) -> DamagedError | RecycledError:
    """Return the error to raise instead of `error`, with which reading the shard failed. Raises DamagedError."""
    count = recycled_windows(store, schema)  # now: the rows may have been removed since the store was opened
    if shard in recycled_shards(schema.layout, count):
        return RecycledError(
            f"shard {shard} of {store} is recycled: `harvest --keep` removed the training rows of its "
            f"first {count} windows, after a training had used them; harvest again without --keep"
        )
    return DamagedError(
        f"shard {shard}: {error}",
        remedy="`analyze verify` lists all that are damaged, and --skip-damaged leaves them out (`train` from "
        "its start on, so with --overwrite)",
    )
