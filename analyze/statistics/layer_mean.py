"""The mean of a measure over layers, with its interval over seeds and groups.

The layers are all that were measured, so their differences are not part of the interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analyze.statistics.estimates import Estimate
from analyze.statistics.jackknife import LEVEL, Float
from analyze.statistics.replicas import Variances, variances_over_layers


@dataclass(frozen=True)
class LayerMean:
    """The mean of a measure, or of a difference, over layers.

    variances: over seeds and groups, crossed, the seeds' variance summed over the layers.
    bias: the mean of the estimates' biases.
    """

    value: float
    variances: Variances
    n_layers: int
    n_seeds: int
    bias: float = 0.0

    @property
    def half_width(self) -> float:
        """The half-width of the 95 % interval, the bias included; NaN where it is unknown."""
        return self.bias + self.variances.half_width()

    @property
    def decided(self) -> bool:
        """True if the 95 % interval excludes 0."""
        return abs(self.value) > self.half_width

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Return the interval (low, high); NaN where it is unknown."""
        half_width = self.bias + self.variances.half_width(level)
        return self.value - half_width, self.value + half_width


def mean_over_layers(estimates: Sequence[Estimate]) -> LayerMean:
    """Return the mean of a configuration's estimates of one measure, one per layer, at least one.

    All layers have the same replicas in the same order, and the same groups. Raises ValueError otherwise.
    """
    shares, n_seeds = estimates[0].shares, estimates[0].n_seeds
    if not all(np.array_equal(estimate.shares, shares) and estimate.n_seeds == n_seeds for estimate in estimates):
        raise ValueError("the layers have different groups or replicas")
    replicas = [estimate.replicas or (estimate,) for estimate in estimates]
    values = np.array([[replica.value for replica in in_layer] for in_layer in replicas])
    replicates = np.array([[replica.replicates for replica in in_layer] for in_layer in replicas])
    return layer_mean(values, replicates, shares, float(np.mean([estimate.bias for estimate in estimates])))


def layer_mean(values: Float, replicates: Float, shares: Float, bias: float = 0.0) -> LayerMean:
    """Return the mean over layers and seeds.

    values: [layers, seeds]. replicates: the values without each group, [layers, seeds, groups]. shares: [groups].
    """
    n_layers, n_seeds = values.shape
    spread = variances_over_layers(values, replicates, shares)
    return LayerMean(float(values.mean()), spread, n_layers, n_seeds, bias)
