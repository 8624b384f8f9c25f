"""What reconstructions cost the language model over the course of training, from the weights that runs kept (Fig. 10).

Snapshots of as many rows are patched together, on the same contexts as all others, so that everything is paired.

Not here: patching (patching.py), when snapshots are taken (train/experiment.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from analyze.measure.cache import NO_CACHE, MeasurementCache
from analyze.measure.heldout import Heldout
from analyze.measure.patched_model import PatchableModel
from analyze.measure.patching import patch
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import Estimate, Key, fewest_groups
from analyze.tables import Row
from train.measures import Sample, Shown, measures_on

OverTraining = dict[Key, list[tuple[int, Estimate]]]  # (rows, estimate) in the order of training


def over_training(
    model: PatchableModel, heldout: Heldout, runs: Sequence[TrainedRun], *, seed: int = 0,
    keep_first: bool = False, device: torch.device | str = "cpu", cache: MeasurementCache = NO_CACHE,
) -> OverTraining:  # fmt: skip
    """Measure each SAE at each of its run's snapshots, NSAE with noise off and on; empty where there is none."""
    at_rows: dict[int, list[TrainedRun]] = {}
    for run in runs:
        for snapshot in run.snapshots():
            at_rows.setdefault(snapshot.trained, []).append(snapshot)
    found: OverTraining = {}
    shown = measures_on(Sample.PATCHED, Shown.SNAPSHOTS)
    for rows, several in sorted(at_rows.items()):
        patched = patch(model, heldout, several, seed=seed, keep_first=keep_first, device=device, cache=cache)
        for key, estimate in patched.items():
            if key.measure in shown:
                found.setdefault(key, []).append((rows, estimate))
    return found


def over_training_lines(found: OverTraining) -> list[Row]:
    """One line a point."""
    return [
        {"run": key.run, "hook": key.hook, "noise": key.noise, "rows": rows, "measure": key.measure,
         "value": estimate.value, "low": estimate.interval[0], "high": estimate.interval[1]}
        for key, points in found.items()
        for rows, estimate in points
    ]  # fmt: skip


def std_over_snapshots(points: Sequence[tuple[int, Estimate]]) -> Estimate:
    """How much a measure varies over the second half of its snapshots: their standard deviation."""
    later = [estimate for _, estimate in points[len(points) // 2 :]]
    replicates = np.stack([estimate.replicates for estimate in later]).std(axis=0)
    return Estimate(float(np.std([estimate.value for estimate in later])), replicates, fewest_groups(later))
