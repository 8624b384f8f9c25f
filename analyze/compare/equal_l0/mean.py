"""Means over layers: of a side's measure, or of the difference between two sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analyze.compare.equal_l0.difference import Difference
from analyze.compare.equal_l0.matched import Matched
from analyze.statistics.jackknife import Float
from analyze.statistics.replicas import Variances, variances_over_layers


@dataclass(frozen=True)
class Mean:
    """The mean of a measure, or of a difference, over some layers."""

    value: float
    variances: Variances
    interpolation_error: float

    @property
    def half_width(self) -> float:
        return self.variances.half_width() + self.interpolation_error

    @property
    def decided(self) -> bool:
        """Whether the interval excludes 0."""
        return abs(self.value) > self.half_width


def mean_of_differences(differences: Sequence[Difference]) -> Mean:
    """Return the mean over layers, with the seeds' variance pooled over them. differences: one per layer, at least one.

    Of layers with different numbers of seeds, each gives as many as the fewest.
    """
    seeds = [list(zip(d.values, d.replicates, strict=True)) for d in differences]
    return _mean(seeds, differences[0].shares, [d.interpolation_error for d in differences])


def mean_of_matched(layers: Sequence[Matched]) -> Mean:
    """Return the mean of a side's measure over layers, as `mean_of_differences`."""
    seeds = [[(estimate.value, estimate.replicates) for estimate in layer.estimates.values()] for layer in layers]
    shares = next(iter(layers[0].estimates.values())).shares
    return _mean(seeds, shares, [layer.interpolation_error for layer in layers])


def _mean(layers: Sequence[Sequence[tuple[float, Float]]], shares: Float, errors: Sequence[float]) -> Mean:
    n_seeds = min(len(seeds) for seeds in layers)
    values = np.array([[value for value, _ in seeds[:n_seeds]] for seeds in layers])
    replicates = np.array([[replicates for _, replicates in seeds[:n_seeds]] for seeds in layers])
    return Mean(float(values.mean()), variances_over_layers(values, replicates, shares), float(np.mean(errors)))
