"""Each configuration's measures as means over the layers (the table `layer_means`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from analyze.compare.curves import measures_of_curves
from analyze.runs.configurations import Configuration
from analyze.runs.families import families
from analyze.statistics.estimates import Estimates, Key
from analyze.statistics.layer_mean import mean_over_layers
from data.store.stats import Subset
from train.measures import possible


@dataclass(frozen=True)
class LayerMeanRow:
    """A configuration's mean of a measure over layers, with its 95 % interval, beside its mean L0.

    sample: what the measure and L0 were measured on.
    layers: the number of layers.
    target: the L0 that the configuration was trained for; None without one.
    """

    sample: str
    family: str
    layers: int
    noise: bool
    run: str
    seeds: int
    target: float | None
    l0: float
    measure: str
    value: float
    low: float
    high: float


def layer_mean_rows(estimates: Estimates, configurations: Sequence[Configuration], sample: str) -> list[LayerMeanRow]:
    """Return one row per measure, family, noise setting and configuration, in ascending order of the mean L0.

    A mean is over the layers in which all configurations have the measure, so configurations can be compared. There is
    none without such a layer, nor of a configuration that never fires.

    estimates: of configurations (`of_configurations`). sample: what they were measured on.
    """
    rows: list[LayerMeanRow] = []
    for measure in measures_of_curves(estimates):
        hooks = _common_hooks(estimates, configurations, measure)
        for family, members in families(configurations).items() if hooks else ():
            for noise in (False, True):
                of_family = [
                    _row(estimates, configuration, family, noise, hooks, measure, sample)
                    for configuration in members
                    if noise in configuration.noises
                ]
                rows += sorted((row for row in of_family if row.l0 > 0), key=lambda row: row.l0)
    return rows


def _common_hooks(estimates: Estimates, configurations: Sequence[Configuration], measure: str) -> list[str]:
    """Return the hooks at which all configurations have a finite value of the measure."""
    keys = [
        [
            Key(configuration.name, hook, noise, Subset.ALL, measure)
            for configuration in configurations
            for noise in configuration.noises
        ]
        for hook in dict.fromkeys(key.hook for key in estimates)
    ]
    return [
        of_hook[0].hook
        for of_hook in keys
        if all(key in estimates and math.isfinite(estimates[key].value) for key in of_hook)
    ]


def _row(
    estimates: Estimates, configuration: Configuration, family: str, noise: bool, hooks: Sequence[str], measure: str,
    sample: str,
) -> LayerMeanRow:  # fmt: skip
    l0, mean = (
        mean_over_layers([estimates[Key(configuration.name, hook, noise, Subset.ALL, name)] for hook in hooks])
        for name in ("l0", measure)
    )
    return LayerMeanRow(
        sample, family, mean.n_layers, noise, configuration.name, mean.n_seeds, configuration.target_l0, l0.value,
        measure, mean.value, *possible(measure, *mean.interval()),
    )  # fmt: skip
