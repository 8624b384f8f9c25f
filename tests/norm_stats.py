"""Statistics of rows that are all in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.store.stats import NormStats, RunningSums


def norm_stats(x: NDArray[Any], first: NDArray[np.bool_]) -> NormStats:
    """Return the statistics of rows x [n, d]; `first` bool [n] marks those at position 0 of their context."""
    sums = RunningSums.zeros(x.shape[1])
    sums.add(x, first)
    return sums.stats()
