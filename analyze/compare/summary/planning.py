"""The number of seeds and documents that would decide a tie, if the differences are as large as those seen."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri

from analyze.compare.equal_l0.comparison import SIGNIFICANCE
from analyze.compare.equal_l0.difference import FEWEST_SEEDS, Difference
from analyze.compare.summary.ranking import ByDocuments, combined_p
from analyze.statistics.cells import most
from analyze.statistics.replicas import MOST_SEEDS, POWER, ReplicaPlan, Variances

TIMES_THE_DOCUMENTS = (1, 2, 4, 8, 16, 32, 64)


def plan(gaps: Sequence[Difference], n_layers: int, n_pairs: int) -> ReplicaPlan | None:
    """Return the cheapest plan, in seeds × documents; None if there is none, or with one seed, whose spread is unknown.

    The layers' differences are taken as true, less 0.84 standard errors of their mean, which makes the power 80 %.

    gaps: the differences of the layers that may be decided. n_layers: how many layers there are. n_pairs: how many
    pairs are corrected for.
    """
    if not gaps or min(gap.n_seeds for gap in gaps) < 2:
        return None
    values = np.array([gap.value for gap in gaps])
    error = np.sqrt(sum(gap.variances.seeds + gap.variances.groups for gap in gaps)) / len(gaps)
    distances = np.sign(values.mean()) * values - float(ndtri(POWER)) * error

    documents, errors = ByDocuments.of(gaps), [gap.interpolation_error for gap in gaps]

    def decides(n_seeds: int, times: int) -> bool:
        p = [
            Variances(
                gap.variances.seeds * gap.n_seeds / n_seeds, gap.variances.groups / times, 0.0, n_seeds - 1,
                gap.variances.group_degrees * times,
            ).p_above(distance, gap.interpolation_error)
            for gap, distance in zip(gaps, distances.tolist(), strict=True)
        ]  # fmt: skip
        more = ByDocuments(documents.covariance / times, documents.degrees * times)
        p_of_documents = more.p_value(distances - errors, most(n_layers))
        return 2 * combined_p(p, p_of_documents, most(n_layers)) <= SIGNIFICANCE / n_pairs

    fewest = max(FEWEST_SEEDS, *(gap.n_seeds for gap in gaps))
    counts, plans = range(fewest, MOST_SEEDS + 1), []
    for times in TIMES_THE_DOCUMENTS:
        enough = bisect_left(counts, True, key=lambda n_seeds: decides(n_seeds, times))
        if enough < len(counts):
            plans.append(ReplicaPlan(counts[enough], gaps[0].n_groups * times))
    return min(plans, key=lambda needed: (needed.seeds * needed.groups, needed.seeds), default=None)
