"""Means over layers at equal L0: of a side's measure, or of the difference between two sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analyze.compare.equal_l0.difference import Difference
from analyze.compare.equal_l0.matched import Matched
from analyze.statistics.jackknife import Float
from analyze.statistics.layer_mean import LayerMean, layer_mean


def mean_of_differences(differences: Sequence[Difference]) -> LayerMean:
    """Return the mean over layers. differences: one per layer, at least one.

    If layers have different numbers of seeds, each gives as many as the layer with fewest.
    """
    seeds = [list(zip(d.values, d.replicates, strict=True)) for d in differences]
    return _mean(seeds, differences[0].shares, [d.interpolation_error for d in differences])


def mean_of_matched(layers: Sequence[Matched]) -> LayerMean:
    """Return the mean of a side's measure over layers, as `mean_of_differences`."""
    seeds = [[(estimate.value, estimate.replicates) for estimate in layer.estimates.values()] for layer in layers]
    shares = next(iter(layers[0].estimates.values())).shares
    return _mean(seeds, shares, [layer.interpolation_error for layer in layers])


def _mean(layers: Sequence[Sequence[tuple[float, Float]]], shares: Float, errors: Sequence[float]) -> LayerMean:
    n_seeds = min(len(seeds) for seeds in layers)
    values = np.array([[value for value, _ in seeds[:n_seeds]] for seeds in layers])
    replicates = np.array([[replicates for _, replicates in seeds[:n_seeds]] for seeds in layers])
    return layer_mean(values, replicates, shares, float(np.mean(errors)))
