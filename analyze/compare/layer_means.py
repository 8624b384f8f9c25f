"""Each configuration's measures as means over the layers (the table `layer_means`)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from analyze.compare.curves import measures_of_curves
from analyze.runs.configurations import Configuration
from analyze.runs.families import families
from analyze.statistics.estimates import Estimates, Key
from analyze.statistics.layer_mean import mean_over_layers
from analyze.tables import Row
from data.store.stats import Subset


def layer_mean_lines(estimates: Estimates, configurations: Sequence[Configuration], sample: str) -> list[Row]:
    """Return one line per measure, family, noise setting and configuration, in ascending order of the mean L0.

    A mean is over the layers in which all configurations have the measure, so configurations can be compared. There is
    none without such a layer, nor of a configuration that never fires.

    estimates: of configurations (`of_configurations`). sample: what they were measured on.
    """
    return [
        line
        for measure in measures_of_curves(estimates)
        for line in _lines_of_measure(estimates, configurations, sample, measure)
    ]


def _lines_of_measure(
    estimates: Estimates, configurations: Sequence[Configuration], sample: str, measure: str
) -> list[Row]:
    hooks = _common_hooks(estimates, configurations, measure)
    lines: list[Row] = []
    for family, members in families(configurations).items():
        for noise in (False, True):
            of_family = [
                _line(estimates, configuration, noise, hooks, measure)
                for configuration in members
                if hooks and noise in configuration.noises
            ]
            lines += [
                {"sample": sample, "family": family, **line}
                for line in sorted(of_family, key=lambda line: line["l0"])
                if line["l0"] > 0
            ]
    return lines


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


def _line(estimates: Estimates, configuration: Configuration, noise: bool, hooks: Sequence[str], measure: str) -> Row:
    l0, mean = (
        mean_over_layers([estimates[Key(configuration.name, hook, noise, Subset.ALL, name)] for hook in hooks])
        for name in ("l0", measure)
    )
    low, high = mean.interval()
    return {
        "layers": mean.n_layers, "noise": noise, "run": configuration.name, "seeds": mean.n_seeds,
        "target": configuration.target_l0, "l0": l0.value, "measure": measure, "value": mean.value,
        "low": low, "high": high,
    }  # fmt: skip
