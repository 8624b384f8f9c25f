"""The marks of dead shares at one L0, which are compared by their means over the layers.

A test of most layers would call nearly all of them tied, because an architecture may have its dead features in few
layers. All that have the smallest mean are *best*: counts are often 0. An architecture is *tied* with them if the 95 %
intervals of the two means, over seeds, overlap. Pairs are not corrected for: of nine architectures that do not differ,
over six layers and three seeds, one is called worse in 6 % of simulated experiments, and in 11 % where one layer varies
five times as much as the others.
"""

from __future__ import annotations

from collections.abc import Sequence

from analyze.compare.equal_l0.matched import MatchedSide
from analyze.compare.equal_l0.mean import mean_of_matched
from analyze.compare.summary.summary import BEST, NO_MARK, TIED

ROUNDING = 1e-9  # means, and ends of intervals, that are nearer than this, in shares of the features, are the same


def marks_of_dead(sides: Sequence[MatchedSide], hooks: Sequence[str]) -> dict[str, str]:
    """Return the mark of each side; none with fewer than two sides, without hooks, or with one seed.

    Exact counts of one seed have no interval.

    sides: the dead shares of the ranked sides, each with a finite value at all hooks.
    """
    layers = {side.name: [side.by_hook[hook] for hook in hooks] for side in sides}
    one_seed = any(len(matched.estimates) == 1 for of_side in layers.values() for matched in of_side)
    if len(sides) < 2 or not hooks or one_seed:
        return {}
    means = {name: mean_of_matched(of_side) for name, of_side in layers.items()}
    smallest = min(mean.value for mean in means.values())
    best = {name for name, mean in means.items() if mean.value <= smallest + ROUNDING}
    high = max(means[name].interval()[1] for name in best)
    apart = {name for name, mean in means.items() if mean.interval()[0] > high + ROUNDING}
    return {name: BEST if name in best else NO_MARK if name in apart else TIED for name in means}
