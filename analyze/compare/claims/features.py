"""Claims 6 and 7: what the noise does to features, and what features NSAE learns."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product

import numpy as np

from analyze.compare.claims.rule import Claim, Subject, decided
from analyze.compare.evidence import Evidence
from analyze.runs.trained_run import FittedRun
from analyze.statistics.estimates import Estimate, difference, exact, mean_of, ratio
from analyze.tables import short

OVERLAP = 0.05  # margin: so few pillars are directions
Runs = list[FittedRun]


def noise(evidence: Evidence) -> Iterator[Claim]:
    if not _runs(evidence, "noiseless") and not _runs(evidence, "nsae"):
        return
    claim = "without noise active features are small and decoder norms huge"
    active, norms = "mean active c, with noise less without", "log of the median decoder norm, without noise over with"
    together = [
        (one, other)
        for one, other in product(_runs(evidence, "noiseless"), _runs(evidence, "nsae"))
        if _but_for_sigma(one) == _but_for_sigma(other)
    ]
    means, ratios = [], []
    for one, other in together:
        for hook in evidence.hooks:
            first, second = (_active(evidence, run, hook) for run in (one, other))
            if first is not None and second is not None:
                means.append(difference(second, first))
            without, with_noise = (_of_dictionary(evidence, run, hook, "norm_median") for run in (one, other))
            if without and with_noise:
                ratios.append(exact(float(np.log(without / with_noise))))
    compared = [run for pair in together for run in pair]
    of = "nsae, σ = 0 and σ > 0 at the same α"
    missing = "" if together else "no run with --sigma 0 beside one with noise at the same α"
    yield decided(Subject(6, claim, of, compared), f"mean over layers of {active}", mean_of(means), 0, note=missing)
    yield decided(Subject(6, claim, of, compared), f"mean over layers of {norms}", mean_of(ratios), 0, note=missing)

    growing, grown = list[Estimate](), list[FittedRun]()
    for one, other in combinations(_runs(evidence, "nsae"), 2):
        less, more = sorted((one, other), key=_sigma)
        if _sigma(less) < _sigma(more) and _but_for_sigma(less) == _but_for_sigma(more):
            grown += [less, more]
            for hook in evidence.hooks:
                first, second = (_active(evidence, run, hook) for run in (less, more))
                if first is not None and second is not None:
                    growing.append(difference(second, first))
    yield decided(
        Subject(6, "larger σ makes L1 more like L0", "nsae, different σ at the same α", grown),
        "mean over layers of L1/L0, of the larger σ less the smaller", mean_of(growing), 0,
        note="" if growing else "no two runs with different --sigma at the same α",
    )  # fmt: skip


def _runs(evidence: Evidence, kind: str) -> Runs:
    return [run for runs in evidence.of_kind(kind).values() for run in runs]


def _sigma(run: FittedRun) -> float:
    return float(run.settings["run"]["sigma"])


def _but_for_sigma(run: FittedRun) -> dict[str, object]:
    own = {key: value for key, value in run.settings["run"].items() if key not in ("name", "sigma")}
    return own | {"schedule": run.settings["schedule"]}


def _active(evidence: Evidence, run: FittedRun, hook: str) -> Estimate | None:
    """Mean c of active features: L1/L0."""
    l1, l0 = evidence.value(run, hook, "l1"), evidence.value(run, hook, "l0")
    return ratio(l1, l0) if l1 is not None and l0 is not None and l0.value else None


def dictionary(evidence: Evidence) -> Iterator[Claim]:
    for family, runs in evidence.of_kind("nsae").items():
        small = _mean_share(evidence, runs, "small_norm_share")
        subject = Subject(7, "most of NSAE's live features have norms in (0, 0.5)", family, runs)
        yield decided(subject, "their share, an exact count, mean over layers", small, 0.5)
        overlap = _mean_share(evidence, runs, "pillars_that_are_directions")
        subject = Subject(7, "pillars are hardly ever directions", family, runs)
        statistic = "share of pillars that are directions, mean over layers with directions"
        yield decided(subject, statistic, overlap, OVERLAP, none=True)
    for name, baseline, nsae in evidence.pairs():
        one, other = (_mean_share(evidence, runs, "near_twin_share") for runs in (baseline, nsae))
        found = None if one is None or other is None else difference(other, one)
        note = "" if one is None or other is None else f"NSAE {short(other.value)}, baseline {short(one.value)}"
        claim = "NSAE has features nearly parallel to another, which the baseline lacks"
        subject = Subject(7, claim, name, [*baseline, *nsae])
        yield decided(
            subject, "share of live features with another at cosine above 0.9, difference, exact", found, 0, note=note
        )


def _mean_share(evidence: Evidence, runs: Runs, name: str) -> Estimate | None:
    shares = [_of_dictionary(evidence, run, hook, name) for run in runs for hook in run.hooks]
    return mean_of([exact(share) for share in shares if share is not None])


def _of_dictionary(evidence: Evidence, run: FittedRun, hook: str, name: str) -> float | None:
    lines = (p.line for p in evidence.dictionary)
    found = next((line for line in lines if (line["run"], line["hook"]) == (run.name, hook)), None)
    return None if found is None else found[name]
