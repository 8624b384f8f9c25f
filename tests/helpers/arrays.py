"""The content of a store of arrays, in the order of its contexts."""

from __future__ import annotations

import numpy as np

from data import Store


def by_context(store: Store, hook: str) -> np.ndarray:
    """Return a store's rows in the order of contexts and positions: [contexts, rows per context, d]."""
    layout = store.layout
    rows = np.full((layout.n_contexts, layout.rows_per_context, store.width(hook)), np.nan, dtype=np.float32)
    for shard in (*store.shards("heldout"), *store.shards("train")):
        context, position = store.origin(shard)
        rows[context, position - store.schema.skip_positions] = store.rows(hook, shard)
    return rows
