"""The number of seeds and documents that would decide a tie, if the difference is as large as that seen."""

from __future__ import annotations

from bisect import bisect_left

from scipy.special import ndtri

from analyze.compare.equal_l0.comparison import SIGNIFICANCE
from analyze.compare.equal_l0.difference import FEWEST_SEEDS
from analyze.statistics.layer_mean import LayerMean
from analyze.statistics.replicas import MOST_SEEDS, POWER, ReplicaPlan, Variances

TIMES_THE_DOCUMENTS = (1, 2, 4, 8, 16, 32, 64)


def plan(mean: LayerMean, n_groups: int, n_pairs: int) -> ReplicaPlan | None:
    """Return the cheapest plan, in seeds × documents; None if there is none, or with one seed, whose spread is unknown.

    The difference is taken as true, less 0.84 standard errors, which makes the power 80 %.

    mean: the mean difference over the layers. n_groups: how many documents there are. n_pairs: how many pairs are
    corrected for.
    """
    if mean.n_seeds < 2:
        return None
    spread, distance = mean.variances, abs(mean.value) - mean.bias

    def decides(n_seeds: int, times: int) -> bool:
        seeds, groups = spread.seeds * mean.n_seeds / n_seeds, spread.groups / times
        degrees = spread.seed_degrees * (n_seeds - 1) / (mean.n_seeds - 1)
        planned = Variances(seeds, groups, 0.0, degrees, spread.group_degrees * times)
        margin = float(ndtri(POWER)) * (seeds + groups) ** 0.5
        return planned.p_value(max(distance - margin, 0.0)) <= SIGNIFICANCE / n_pairs

    counts, plans = range(max(FEWEST_SEEDS, mean.n_seeds), MOST_SEEDS + 1), []
    for times in TIMES_THE_DOCUMENTS:
        enough = bisect_left(counts, True, key=lambda n_seeds: decides(n_seeds, times))
        if enough < len(counts):
            plans.append(ReplicaPlan(counts[enough], n_groups * times))
    return min(plans, key=lambda needed: (needed.seeds * needed.groups, needed.seeds), default=None)
