"""Claims 2 and 3: how L0, and L1 over L0, go over the layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from analyze.compare.claims.rule import Claim, Relation, Subject, decided, layer_picks, relation
from analyze.compare.evidence import Evidence
from analyze.runs.trained_run import FittedRun
from analyze.statistics.bootstrap import Float
from analyze.statistics.estimates import Estimate, difference, fewest_groups, mean_of, ratio
from analyze.tables import short

MARGIN = 0.15  # of a slope
Runs = list[FittedRun]


def l0_over_layers(evidence: Evidence) -> Iterator[Claim]:
    slope = "slope of log L0 on log mean ‖x‖₂"
    slopes = {}
    for kind, claim, none in (
        ("baseline", "the baseline's L0 grows with the mean input norm", False),
        ("nsae", "NSAE's L0 has no relation to the mean input norm", True),
        ("control", "nor has a baseline's that is told of the norm (the control)", True),
    ):
        for family, runs in evidence.of_kind(kind).items():
            found = [r for r in (relation_of(evidence, run) for run in runs) if r is not None]
            slopes[family] = mean_of([r.slope for r in found])
            note = f"p {_range([r.p for r in found])}, ρ {_range([r.rho for r in found])}" if found else ""
            subject = Subject(2, claim, family, runs)
            parts = [r.slope for r in found] if none else []
            yield decided(subject, slope, slopes[family], MARGIN, none=none, parts=parts, note=note)
    for (first, ones), (second, others) in product(
        evidence.of_kind("baseline").items(), evidence.of_kind("nsae").items()
    ):
        one, other = slopes[first], slopes[second]
        found_difference = None if one is None or other is None else difference(one, other)
        subject = Subject(2, "the baseline's slope is above NSAE's", f"{first} − {second}", [*ones, *others])
        yield decided(subject, f"difference of the {slope}", found_difference, MARGIN)
    for family, runs in evidence.of_kind("nsae").items():
        bends = [bend for bend in (_bend(_l0(evidence, run)) for run in runs) if bend is not None]
        subject = Subject(2, "NSAE's L0 rises over depth, then falls", family, runs)
        statistic = "a parabola through log L0: its middle over its higher end"
        yield decided(subject, statistic, mean_of(bends), 0)


def relation_of(evidence: Evidence, run: FittedRun) -> Relation | None:
    """How a run's L0, noise off, goes with the layers' mean norms."""
    norms = np.array([evidence.mean_norm[hook] for hook in run.hooks])
    return relation(norms, _l0(evidence, run))


def _l0(evidence: Evidence, run: FittedRun) -> Float:
    found = [evidence.value(run, hook, "l0") for hook in run.hooks]
    return np.array([0.0 if estimate is None else estimate.value for estimate in found])


def _bend(l0: Float) -> Estimate | None:
    """How far the middle of the parabola through log L0 [layers] lies above both its ends; layers are resampled."""
    if len(l0) < 4 or not (l0 > 0).all():
        return None
    depth, y = np.linspace(0, 1, len(l0)), np.log(l0)

    def middle_over_ends(rows: NDArray[np.int64]) -> float:
        first, middle, last = np.polyval(np.polyfit(depth[rows], y[rows], 2), [0, 0.5, 1])
        return float(middle - max(first, last))

    picks = layer_picks(depth, np.random.default_rng(0), at_least=3)
    several = np.array([middle_over_ends(rows) for rows in picks])
    return Estimate(middle_over_ends(np.arange(len(l0))), several, len(l0))


def _range(values: Sequence[float]) -> str:
    low, high = short(min(values)), short(max(values))
    return low if low == high else f"{low} to {high}"


def agreement(evidence: Evidence, name: str, baseline: Runs, nsae: Runs) -> Iterator[Claim]:
    one, other = (mean_of([v for v in (_variation(evidence, run) for run in runs) if v]) for runs in (baseline, nsae))
    found = None if one is None or other is None else difference(one, other)
    statistic = "the baseline's coefficient of variation of L1/L0 over layers, less NSAE's"
    note = "" if one is None or other is None else f"baseline {short(one.value)}, NSAE {short(other.value)}"
    subject = Subject(3, "L1/L0 varies less over layers for NSAE", name, [*baseline, *nsae])
    yield decided(subject, statistic, found, 0, note=note)


def _variation(evidence: Evidence, run: FittedRun) -> Estimate | None:
    ratios = []
    for hook in run.hooks:
        l1, l0 = evidence.value(run, hook, "l1"), evidence.value(run, hook, "l0")
        if l1 is None or l0 is None or not l0.value:
            return None
        ratios.append(ratio(l1, l0))
    if len(ratios) < 2:
        return None
    values, replicates = np.array([r.value for r in ratios]), np.stack([r.replicates for r in ratios])
    variation = replicates.std(axis=0) / replicates.mean(axis=0)
    return Estimate(float(values.std() / values.mean()), variation, fewest_groups(ratios))
