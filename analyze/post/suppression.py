"""Claim 1: what NSAE reconstructs is not too short, and the baseline's is."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from analyze.claims import Claim, Subject, decided
from analyze.estimates import Estimate, difference, mean_of
from analyze.evidence import Evidence
from analyze.fitted import FittedRun
from analyze.tables import short

MARGIN = 0.02
GAP = 0.05  # of explained variance: runs further apart say nothing about suppression at the same one
Runs = list[FittedRun]


def suppression(evidence: Evidence, name: str, baseline: Runs, nsae: Runs) -> Iterator[Claim]:
    closest = {hook: _closest(evidence, hook, baseline, nsae) for hook in evidence.hooks}
    for measure, sign in (("suppression", "Σ‖x̂‖/Σ‖x‖"), ("gamma", "γ")):
        claim = f"{sign} of NSAE is above the baseline's"
        statistic = f"difference of {sign}, at the closest explained variance"
        by_hook: dict[str, tuple[Estimate, str]] = {}
        for hook, pair in closest.items():
            if pair is not None:
                one, other, gap = pair
                first, second = evidence.value(one, hook, measure), evidence.value(other, hook, measure)
                if first is not None and second is not None:
                    note = (
                        f"{short(second.value)} of {other.name}, {short(first.value)} of {one.name}; "
                        f"their explained variances differ by {gap:.3f}"
                    )
                    by_hook[hook] = difference(second, first), note
        mean = mean_of([estimate for estimate, _ in by_hook.values()])
        missing = len(closest) - len(by_hook)
        note = f"{missing} of {len(closest)} layers have no runs within {GAP} of explained variance" if missing else ""
        yield decided(Subject(1, claim, name), f"mean over layers of the {statistic}", mean, MARGIN, note=note)
        for hook, (estimate, note) in by_hook.items():
            yield decided(Subject(1, claim, name, hook), statistic, estimate, MARGIN, note=note)


def _closest(evidence: Evidence, hook: str, ones: Runs, others: Runs) -> tuple[FittedRun, FittedRun, float] | None:
    """The two runs whose explained variances at a hook are closest, and how far apart: None if by more than GAP."""
    pairs = []
    for one, other in product(ones, others):
        first, second = (evidence.value(run, hook, "explained_variance") for run in (one, other))
        if first is not None and second is not None:
            pairs.append((one, other, abs(first.value - second.value)))
    pairs = [pair for pair in pairs if pair[2] <= GAP]
    return min(pairs, key=lambda pair: pair[2], default=None)
