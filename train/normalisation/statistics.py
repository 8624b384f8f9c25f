"""Statistics of a layer's training rows, on which the normalisation of its inputs depends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from data.store.reader import Store

ROWS = 4096  # that are in memory in float64


@dataclass(frozen=True)
class InputStatistics:
    """Statistics of rows x [d]; NaN or None where they are not known.

    mean_norm: E‖x‖. mean_square: E‖x‖². mean: E x, float64 [d].
    centred_mean_norm: E‖x − E x‖. centred_mean_square: E‖x − E x‖².
    """

    mean_norm: float
    mean_square: float = math.nan
    mean: NDArray[np.float64] | None = None
    centred_mean_norm: float = math.nan
    centred_mean_square: float = math.nan

    @classmethod
    def of(cls, store: Store, hook: str, centred_mean_norm: float = math.nan) -> InputStatistics:
        """From the statistics of a store's training split, which have all but E‖x − E x‖."""
        rows = store.statistics(hook)
        return cls(rows.mean_norm(), rows.mean_square(), rows.mean(), centred_mean_norm, float(rows.variance().sum()))


def centred_mean_norm(store: Store, hook: str) -> float:
    """Return E‖x − E x‖ of a store's training split, by a pass over its rows: no sum over shards gives it."""
    mean, total = store.statistics(hook).mean(), 0.0
    for shard in store.shards("train"):
        for begin in range(0, store.shard_rows(shard), ROWS):
            rows = store.rows(hook, shard, slice(begin, begin + ROWS)).astype(np.float64)
            total += float(np.linalg.norm(rows - mean, axis=1).sum())
    return total / store.n_rows("train")
