"""How well the stream mixes: distinct contexts in a batch, over those of a uniform draw from the training split.

Pure arithmetic over the order and the deal; no store need exist. 1 is a perfect shuffle.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.permutation import Int
from data.shuffle.order import Order, Shards
from data.store.layout import Layout

Contexts = Callable[[int], NDArray[Any]]  # shard (of the order) → the context of each of its rows


def uniform_distinct(rows_per_context: int, n_rows: int, batch_size: int) -> float:
    """Expected distinct contexts among `batch_size` rows drawn without replacement from contexts of equal length.

    A context is missed with probability C(N − P, B) / C(N, B) = ∏ (1 − B / (N − i)) over its P rows.
    """
    kept = np.arange(rows_per_context, dtype=np.float64)
    missed = float(np.prod(np.maximum(1 - batch_size / (n_rows - kept), 0)))
    return n_rows / rows_per_context * (1 - missed)


def mixing(
    order: Order, contexts: Contexts, rows_per_context: int, *, batch_size: int = 4096, batches: int = 8
) -> float:
    """Mean over `batches` batches, spread over the first epoch, of their distinct contexts over a uniform draw's."""
    n_rows = order.shards.n_rows
    batch_size = min(batch_size, n_rows)
    steps = np.unique(np.linspace(0, max(n_rows // batch_size - 1, 0), batches).astype(int))
    found = []
    for step in steps:
        seen = []
        for segment in order.batch(int(step), batch_size):
            for shard in np.unique(segment.shards):
                seen.append(contexts(int(shard))[segment.rows[segment.shards == shard]])
        found.append(len(np.unique(np.concatenate(seen))))
    return float(np.mean(found)) / uniform_distinct(rows_per_context, n_rows, batch_size)


def simulated(layout: Layout, *, pool: int, seed: int) -> tuple[Order, Contexts]:
    """The order and row origins that a store of this layout would have."""
    deals = [deal for w in range(layout.n_windows) for deal in layout.deals(w) if deal.split == "train"]
    owner = [(deal, j) for deal in deals for j in range(deal.n_shards)]
    windows = [deal.first_shard // layout.shards_per_window for deal, _ in owner]
    rows = [int(n) for deal in deals for n in deal.shard_rows()]

    @lru_cache(maxsize=8)
    def cards(deal_index: int) -> Int:
        return deals[deal_index].cards(0, deals[deal_index].n_rounds)

    def contexts(shard: int) -> Int:
        deal, j = owner[shard]
        column = cards(deals.index(deal))[:, j]
        return column[column >= 0] // layout.rows_per_context

    return Order(Shards(tuple(rows), tuple(windows)), pool=pool, seed=seed), contexts
