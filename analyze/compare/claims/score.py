"""Claim 4: the reconstruction score is the same at the same L0, and NSAE's is steadier during training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from analyze.compare.claims.claim import Cells, Claim, ClaimHeader, join_notes
from analyze.compare.claims.numbers import at_equal_l0, differences_of_means
from analyze.compare.claims.rule import decide_above, decide_equivalent
from analyze.compare.equal_l0.matched import key_of
from analyze.measure.measurements import Measurements
from analyze.measure.patching.over_training import std_over_snapshots
from analyze.measure.patching.patch import NEEDED
from analyze.runs.families import FamilyPair
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import Estimate, combine
from analyze.tables import short

MARGIN = 0.01  # of the score
NO_MODEL = "not measured: it needs the language model"
FEWEST_SNAPSHOTS = 4


def claims(measurements: Measurements) -> Iterator[Claim]:
    """Yield claim 4 for each pair of families."""
    for pair in measurements.pairs():
        yield from _same_score(measurements, pair)
    for pair in measurements.pairs():
        yield from _steadier(measurements, pair)


def _same_score(measurements: Measurements, pair: FamilyPair) -> Iterator[Claim]:
    header = ClaimHeader(4, "the reconstruction score is no different at the same L0", pair.name, pair.runs)
    patched = measurements.patched
    numbers = at_equal_l0(measurements, patched, pair, "score") if patched else Cells([], measurements.hooks)
    note = "" if patched else NO_MODEL
    for claim in decide_equivalent(header, "difference of the score at equal L0", numbers, MARGIN, note=note):
        warning = _warning(measurements, claim.hook, pair) if claim.hook in measurements.hooks else ""
        yield replace(claim, note=join_notes(claim.note, warning))


def _warning(measurements: Measurements, hook: str, pair: FamilyPair) -> str:
    """Return a note if the model hardly needs the layer, because the score's denominator is then near 0."""
    run = next(run for run in pair.baseline if hook in run.hooks)
    cost = measurements.patched[key_of(run, hook, "nats_lost_zero")]
    if cost.interval[0] > NEEDED:
        return ""
    return f"zeroing the layer costs {short(cost.value)} nats: a score says little"


def _steadier(measurements: Measurements, pair: FamilyPair) -> Iterator[Claim]:
    def steadiness(run: TrainedRun, hook: str) -> Estimate | None:
        points = measurements.over_training.get(key_of(run, hook, "score"), [])
        return combine(lambda x: -x, [std_over_snapshots(points)]) if len(points) >= FEWEST_SNAPSHOTS else None

    yield from decide_above(
        ClaimHeader(4, "NSAE's score is steadier in training", pair.name, pair.runs),
        "standard deviation of the score over the later snapshots, the baseline's less NSAE's",
        differences_of_means(measurements, pair, steadiness), 0,
        note="" if measurements.over_training else f"{NO_MODEL}, on snapshots",
    )  # fmt: skip
