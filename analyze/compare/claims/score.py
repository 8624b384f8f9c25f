"""Claim 4: the reconstruction score is the same at the same L0, and NSAE's is steadier during training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analyze.compare.claims.rule import Claim, ClaimHeader, count_by_layer, decide_above, decide_equivalent, join_notes
from analyze.compare.pareto import compare_at_matched_l0, note_without_overlap
from analyze.measure.measurements import Measurements
from analyze.measure.patching.over_training import std_over_snapshots
from analyze.measure.patching.patch import NEEDED
from analyze.runs.families import FamilyPair
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import Estimate, Key, difference, mean_of
from analyze.tables import short
from data.store.stats import Subset

MARGIN = 0.01  # of the score
NO_MODEL = "not measured: it needs the language model"
FEWEST_SNAPSHOTS = 4


def claims(measurements: Measurements) -> Iterator[Claim]:
    for pair in measurements.pairs():
        yield from _same_score(measurements, pair)
    for pair in measurements.pairs():
        yield _steadier(measurements, pair)


def _same_score(measurements: Measurements, pair: FamilyPair) -> Iterator[Claim]:
    claim, statistic = "the reconstruction score is no different at the same L0", "difference of the score at equal L0"
    by_hook = compare_at_matched_l0(measurements.patched, measurements.hooks, pair, "score", difference)
    per_layer = [
        decide_equivalent(
            ClaimHeader(4, claim, pair.name, pair.runs, hook), statistic, estimate, MARGIN,
            note=_warning(measurements, hook, pair.baseline),
        )
        for hook, estimate in by_hook.items()
    ]  # fmt: skip
    differences = list(by_hook.values())
    note = join_notes(count_by_layer(per_layer), note_without_overlap(measurements.hooks, by_hook))
    yield decide_equivalent(
        ClaimHeader(4, claim, pair.name, pair.runs), f"mean over layers of the {statistic}", mean_of(differences),
        MARGIN, each=differences, note=note if measurements.patched else NO_MODEL,
    )  # fmt: skip
    yield from per_layer


def _warning(measurements: Measurements, hook: str, runs: Sequence[TrainedRun]) -> str:
    """Return a note if the model hardly needs the layer, because the score's denominator is then near 0."""
    name = next(run.name for run in runs if hook in run.hooks)
    cost = measurements.patched[Key(name, hook, False, Subset.ALL, "nats_lost_zero")]
    if cost.interval[0] > NEEDED:
        return ""
    return f"zeroing the layer costs {short(cost.value)} nats: a score says little"


def _steadier(measurements: Measurements, pair: FamilyPair) -> Claim:
    baseline, nsae = (_mean_std_over_snapshots(measurements, runs) for runs in (pair.baseline, pair.nsae))
    return decide_above(
        ClaimHeader(4, "NSAE's score is steadier in training", pair.name, pair.runs),
        "standard deviation of the score over the later snapshots, the baseline's less NSAE's",
        None if baseline is None or nsae is None else difference(baseline, nsae), 0,
        note="" if measurements.over_training else f"{NO_MODEL}, on snapshots",
    )  # fmt: skip


def _mean_std_over_snapshots(measurements: Measurements, runs: Sequence[TrainedRun]) -> Estimate | None:
    names = {run.name for run in runs}
    return mean_of([
        std_over_snapshots(points) for key, points in measurements.over_training.items()
        if key.measure == "score" and not key.noise and key.run in names and len(points) >= FEWEST_SNAPSHOTS
    ])  # fmt: skip
