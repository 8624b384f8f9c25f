"""A split's rows in the order in which they are stored, for measuring: every row once, nothing shuffled.

Not here: training's order (stream.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from data.store.layout import Split
from data.store.reader import Store


def walk(
    store: Store, split: Split, hooks: Sequence[str], *, batch_size: int, n_rows: int | None = None
) -> Iterator[torch.Tensor]:
    """Batches [layers, batch, d_model] of the stored type (float32 for int8); views of the maps for a single hook.

    Stops after `n_rows` rows, if given. A batch never crosses a shard, so some are smaller than `batch_size`.
    """
    left = store.n_rows(split) if n_rows is None else n_rows
    for shard in store.shards(split):
        rows = [store.tensor(hook, shard) for hook in hooks]
        checks = [store.size_check(hook, shard) for hook in hooks]
        size = min(store.shard_rows(shard), left)
        for begin in range(0, size, batch_size):
            for check in checks:
                check()
            yield torch.stack([x[begin : min(begin + batch_size, size)] for x in rows])
        left -= size
        if not left:
            return
