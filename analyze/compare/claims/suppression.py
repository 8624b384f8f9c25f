"""Claim 1: what NSAE reconstructs is not too short, and the baseline's is."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from analyze.compare.claims.rule import Claim, Subject, by_layer, decided, named
from analyze.compare.evidence import Evidence
from analyze.runs.trained_run import FittedRun
from analyze.statistics.estimates import Estimate, difference, mean_of
from analyze.tables import short

MARGIN = 0.02
GAP = 0.05  # of explained variance: runs further apart say nothing about suppression at the same one
Runs = list[FittedRun]


def suppression(evidence: Evidence, name: str, baseline: Runs, nsae: Runs) -> Iterator[Claim]:
    runs = [*baseline, *nsae]
    closest = {hook: _closest(evidence, hook, baseline, nsae) for hook in evidence.hooks}
    for measure, sign in (("suppression", "Σ‖x̂‖/Σ‖x‖"), ("gamma", "γ")):
        claim = f"{sign} of NSAE is above the baseline's"
        statistic = f"difference of {sign}, at the closest explained variance"
        by_hook: dict[str, tuple[Estimate, str]] = {}
        for hook, pair in closest.items():
            if pair is not None:
                one, other, explains, at_l0 = pair
                first, second = evidence.value(one, hook, measure), evidence.value(other, hook, measure)
                if first is not None and second is not None:
                    note = (
                        f"{short(second.value)} of {other.name}, {short(first.value)} of {one.name}, which explain "
                        f"{explains[1]:.3f} and {explains[0]:.3f} at L0 {short(at_l0[1])} and {short(at_l0[0])}"
                    )
                    by_hook[hook] = difference(second, first), note
        mean = mean_of([estimate for estimate, _ in by_hook.values()])
        each = [
            decided(Subject(1, claim, name, runs, hook), statistic, estimate, MARGIN, note=note)
            for hook, (estimate, note) in by_hook.items()
        ]
        missing = [hook for hook in closest if hook not in by_hook]
        apart = f"no runs within {GAP} of explained variance: {named(missing)}" if missing else ""
        note = "; ".join(filter(None, (by_layer(each), apart)))
        yield decided(Subject(1, claim, name, runs), f"mean over layers of the {statistic}", mean, MARGIN, note=note)
        yield from each


Pair = tuple[FittedRun, FittedRun, tuple[float, ...], tuple[float, ...]]


def _closest(evidence: Evidence, hook: str, ones: Runs, others: Runs) -> Pair | None:
    """The two runs whose explained variances at a hook are closest, with these and their L0; None beyond GAP."""

    def values(measure: str, *runs: FittedRun) -> tuple[float, ...]:
        return tuple(found.value for run in runs if (found := evidence.value(run, hook, measure)) is not None)

    pairs = []
    for one, other in product(ones, others):
        explained, l0 = values("explained_variance", one, other), values("l0", one, other)
        if len(explained) == len(l0) == 2 and abs(explained[0] - explained[1]) <= GAP:
            pairs.append((one, other, explained, l0))
    return min(pairs, key=lambda pair: abs(pair[2][0] - pair[2][1]), default=None)
