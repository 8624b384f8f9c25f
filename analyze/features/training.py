"""The counts of training rows in which features fire."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from analyze.features.activations import DENSE_ENTRIES
from data.store.reader import Store
from train.sae import SAE

ROWS = 100_000
SHARDS = 32  # that the rows are taken from; a shard holds tokens of a long stretch of text


@dataclass(frozen=True)
class TrainingCounts:
    """The count of training rows, and of those in which each feature is active, noise off: int64 [d_sae]."""

    rows: int
    fired: Tensor


@torch.no_grad()
def training_counts(
    store: Store, hook: str, sae: SAE, *, n_rows: int = ROWS, device: torch.device | str = "cpu"
) -> TrainingCounts:
    """Count in which training rows features fire: about n_rows, from evenly spaced shards. sae: on `device`.

    The shards are those that the store still has: a harvest that recycles windows removes the oldest.
    """
    shards = [shard for shard in store.shards("train") if shard not in store.recycled]
    chosen = [shards[i] for i in np.unique(np.linspace(0, len(shards) - 1, SHARDS).astype(int))] if shards else []
    per_shard = -(-n_rows // max(len(chosen), 1))
    fired, rows = torch.zeros(sae.d_sae, dtype=torch.int64), 0
    batch_size = max(1, DENSE_ENTRIES // sae.d_sae)
    for shard in chosen:
        end = min(per_shard, store.shard_rows(shard))
        for begin in range(0, end, batch_size):
            stored = store.rows(hook, shard, slice(begin, min(begin + batch_size, end)))
            c = sae.encode(torch.from_numpy(stored.astype(np.float32)).to(device))
            fired += (c != 0).sum(dim=0).cpu()
            rows += len(stored)
    return TrainingCounts(rows, fired)
