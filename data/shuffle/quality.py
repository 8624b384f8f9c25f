"""The quality of the stream's mixing: distinct contexts in a batch, relative to those of a uniform draw of rows.

Pure arithmetic over the order; no row is read. 1 is a perfect shuffle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.shuffle.order import Order

Contexts = Callable[[int], NDArray[Any]]  # shard (of the order) → the context of each of its rows


def uniform_distinct(rows_per_context: int, n_rows: int, batch_size: int) -> float:
    """Return the expected number of distinct contexts among `batch_size` rows drawn without replacement.

    The N rows come from contexts of P rows each; a batch of B rows misses a context with probability
    C(N − P, B) / C(N, B) = ∏ (1 − B / (N − i)) for i from 0 to P − 1.
    """
    i = np.arange(rows_per_context, dtype=np.float64)
    missed = float(np.prod(np.maximum(1 - batch_size / (n_rows - i), 0)))
    return n_rows / rows_per_context * (1 - missed)


def mixing(
    order: Order, contexts: Contexts, rows_per_context: int, *, batch_size: int = 4096, batches: int = 8
) -> float:
    """Return the mean number of distinct contexts per batch, divided by that of a uniform draw.

    The mean is over `batches` batches, spread over the first epoch.
    """
    n_rows = order.shards.n_rows
    batch_size = min(batch_size, n_rows)
    steps = np.unique(np.linspace(0, max(n_rows // batch_size - 1, 0), batches).astype(int))
    distinct = []
    for step in steps:
        batch_contexts = [
            contexts(int(shard))[part.rows[part.shards == shard]]
            for part in order.batch(int(step), batch_size)
            for shard in np.unique(part.shards)
        ]
        distinct.append(len(np.unique(np.concatenate(batch_contexts))))
    return float(np.mean(distinct)) / uniform_distinct(rows_per_context, n_rows, batch_size)
