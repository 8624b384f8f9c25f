"""Measures of patching over the course of training, from the runs' snapshots (Fig. 10 of the post).

All snapshots use the same contexts, so their estimates are paired.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from analyze.measure.cache import NO_CACHE, MeasurementCache
from analyze.measure.heldout import Heldout
from analyze.measure.patching.model import PatchableModel
from analyze.measure.patching.patch import patch
from analyze.runs.configurations import Configuration, of_configurations
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import Estimate, Estimates, Key, combine
from train.measures import Sample, Shown, measures_on

OverTraining = dict[Key, list[tuple[int, Estimate]]]  # (rows, estimate) in the order of training


def over_training(
    model: PatchableModel, heldout: Heldout, runs: Sequence[TrainedRun], *, seed: int = 0,
    keep_first: bool = False, device: torch.device | str = "cpu", cache: MeasurementCache = NO_CACHE,
) -> OverTraining:  # fmt: skip
    """Patch with each snapshot of each SAE, NSAE with noise off and on; return the estimates over training.

    Empty without snapshots. The arguments are those of `patch`.
    """
    at_rows: dict[int, list[TrainedRun]] = {}
    for run in runs:
        for snapshot in run.snapshots():
            at_rows.setdefault(snapshot.trained, []).append(snapshot)
    over: OverTraining = {}
    shown = measures_on(Sample.PATCHED, Shown.SNAPSHOTS)
    for rows, snapshots in sorted(at_rows.items()):
        patched = patch(model, heldout, snapshots, seed=seed, keep_first=keep_first, device=device, cache=cache)
        for key, estimate in patched.items():
            if key.measure in shown:
                over.setdefault(key, []).append((rows, estimate))
    return over


def mean_over_replicas(over: OverTraining, configurations: Iterable[Configuration]) -> OverTraining:
    """Return the estimates of configurations, under their names, at the snapshots that all of their replicas have."""
    at_rows: dict[int, Estimates] = {}
    for key, points in over.items():
        for rows, estimate in points:
            at_rows.setdefault(rows, {})[key] = estimate
    means: OverTraining = {}
    all_configurations = list(configurations)
    for rows in sorted(at_rows):
        for key, estimate in of_configurations(at_rows[rows], all_configurations).items():
            means.setdefault(key, []).append((rows, estimate))
    return means


@dataclass(frozen=True)
class SnapshotRow:
    """A measure of an SAE after `rows` rows of training, with its 95 % interval (the table `over_training`)."""

    run: str
    hook: str
    noise: bool
    rows: int
    measure: str
    value: float
    low: float
    high: float


def snapshot_rows(over: OverTraining) -> list[SnapshotRow]:
    """Return one row per SAE, noise setting, measure and snapshot."""
    return [
        SnapshotRow(key.run, key.hook, key.noise, rows, key.measure, estimate.value, *estimate.interval)
        for key, points in over.items()
        for rows, estimate in points
    ]


def std_over_snapshots(points: Sequence[tuple[int, Estimate]]) -> Estimate:
    """Return the standard deviation of a measure over the second half of the snapshots."""
    later = [estimate for _, estimate in points[len(points) // 2 :]]
    return combine(lambda *values: np.std(values, axis=0), later)
