"""Bootstrap intervals by resampling groups of rows: documents, or contexts where documents are unknown.

Rows of one document are alike, so intervals that resample rows would be far too narrow. A measure is a function of sums
over rows. A resample draws as many groups as there are, with repetition, so its sums are weighted sums of the groups'.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

RESAMPLES = 1000
LEVEL = 0.95


def weights(n_groups: int, *, seed: int = 0, resamples: int = RESAMPLES) -> Float:
    """Draw how often each group is in each resample: float64 [resamples, n_groups], whose rows add up to n_groups.

    The same arguments give the same weights, so measures resampled with them are paired.
    """
    draws = np.random.default_rng(seed).multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=resamples)
    return draws.astype(np.float64)


def resampled(sums: Float, drawn: Float) -> Float:
    """Return the sums of each resample [resamples, …], from sums by group [groups, …] and `weights`."""
    flat = drawn @ sums.reshape(len(sums), -1)
    return flat.reshape(len(drawn), *sums.shape[1:])


def interval(values: Float, level: float = LEVEL) -> tuple[float, float]:
    """Return the percentile interval of the replicates [resamples]; NaN if any is not finite."""
    if not np.isfinite(values).all():
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
