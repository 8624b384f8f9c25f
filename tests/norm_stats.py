"""Statistics of rows that are all in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.store.stats import Accumulator, NormStats


def norm_stats(x: NDArray[Any], first: NDArray[np.bool_]) -> NormStats:
    """Return the statistics of rows x [n, d]; `first` bool [n] marks those at position 0 of their context."""
    accumulator = Accumulator(x.shape[1])
    accumulator.add(x, first)
    return accumulator.stats()
