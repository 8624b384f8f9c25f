"""The values of L0 at which two sides are compared if none is asked for: those of their runs, which one side has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analyze.compare.equal_l0.matched import key_of
from analyze.compare.equal_l0.sides import Side
from analyze.statistics.curves import SAME_L0
from analyze.statistics.estimates import Estimates


def shared_l0_values(l0_estimates: Estimates, first: Side, second: Side, hook: str) -> list[float]:
    """Return the L0 of each configuration of a side that lies within the other's range at a hook, ascending.

    Values at most 2 · SAME_L0 apart are one, the geometric mean of the smallest and the largest of them. The list is
    empty if the ranges do not overlap.
    """
    of_first, of_second = (l0_values(l0_estimates, side, hook) for side in (first, second))
    shared = sorted([*_within(of_first, of_second), *_within(of_second, of_first)])
    groups: list[list[float]] = []
    for l0 in shared:
        if groups and l0 / groups[-1][0] <= 1 + 2 * SAME_L0:
            groups[-1].append(l0)
        else:
            groups.append([l0])
    return [float(np.sqrt(group[0] * group[-1])) for group in groups]


def l0_values(l0_estimates: Estimates, side: Side, hook: str) -> list[float]:
    """Return the L0 of each configuration that fires at a hook: the geometric mean over its replicas."""
    known = [
        [l0_estimates[key].value for run in configuration.replicas if (key := key_of(run, hook, "l0")) in l0_estimates]
        for configuration in side.configurations
    ]
    return [float(np.exp(np.mean(np.log(values)))) for values in known if values and min(values) > 0]


def _within(values: Sequence[float], others: Sequence[float]) -> list[float]:
    if not others:
        return []
    return [l0 for l0 in values if min(others) / (1 + SAME_L0) <= l0 <= max(others) * (1 + SAME_L0)]
