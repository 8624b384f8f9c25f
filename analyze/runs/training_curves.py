"""Curves of the measures that training recorded in metrics.jsonl, and when a curve comes near its last value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analyze.runs.configurations import Configuration
from analyze.runs.trained_run import TrainedRun
from train.measures import TRAINING
from train.output.metrics_file import read_records

L0_CONTROLLER = ("coefficient", "setpoint", "mean_l0")  # adjusted numbers, and the mean L0
NEAR = 0.1  # a value within 10 % of the last value is near it


@dataclass(frozen=True)
class TrainingCurve:
    """One measure of one SAE over training: `values` after `rows` rows; undefined values are left out."""

    run: str
    hook: str
    split: str
    noise: bool
    measure: str
    rows: list[int]
    values: list[float]


def training_curves(runs: Sequence[TrainedRun]) -> list[TrainingCurve]:
    """Return the curves of all runs and measures, for training batches and the held-out split, noise off and on."""
    by_key: dict[tuple[str, str, str, bool, str], TrainingCurve] = {}
    for run in runs:
        for record in read_records(run.folder):
            for measure in (*TRAINING, *L0_CONTROLLER):
                value, noise = record.get(measure), record["noise"]
                if noise not in run.noises and record["split"] == "train":
                    noise = False  # batches of an NSAE with σ = 0
                if value is not None and noise in run.noises:
                    key = (run.name, record["hook"], record["split"], noise, measure)
                    curve = by_key.setdefault(key, TrainingCurve(*key, [], []))
                    curve.rows.append(record["rows"])
                    curve.values.append(float(value))
    return list(by_key.values())


def as_trained(curves: Sequence[TrainingCurve]) -> list[TrainingCurve]:
    """Return the curves of training batches, or of the held-out split if it was recorded more often.

    An architecture with noise is taken with noise on, as it was trained.
    """
    noisy = {curve.run for curve in curves if curve.noise}
    by_split = [
        [curve for curve in curves if curve.split == split and curve.noise == (curve.run in noisy)]
        for split in ("train", "heldout")
    ]
    return max(by_split, key=lambda of_split: sum(len(curve.rows) for curve in of_split))


def mean_curves(curves: Sequence[TrainingCurve], configurations: Sequence[Configuration]) -> list[TrainingCurve]:
    """Return the curves of configurations, under their names: means over replicas at the rows that all recorded.

    A configuration has the curves that all of its replicas have.
    """
    by_key = {(c.run, c.hook, c.split, c.noise, c.measure): c for c in curves}
    means = []
    for configuration in configurations:
        names = [run.name for run in configuration.replicas]
        for key, curve in by_key.items():
            if key[0] != names[0]:
                continue
            of_replicas = [by_key.get((name, *key[1:])) for name in names]
            known = [
                dict(zip(replica.rows, replica.values, strict=True)) for replica in of_replicas if replica is not None
            ]
            rows = [n for n in curve.rows if all(n in values for values in known)]
            if len(known) == len(names) and rows:
                mean = [float(np.mean([values[n] for values in known])) for n in rows]
                means.append(replace(curve, run=configuration.name, rows=rows, values=mean))
    return means


@dataclass(frozen=True)
class CurveRow:
    """A point of a training curve: the value after `rows` rows."""

    run: str
    hook: str
    split: str
    noise: bool
    rows: int
    measure: str
    value: float


def curve_rows(curves: Sequence[TrainingCurve]) -> list[CurveRow]:
    """Return one row per point of each curve."""
    return [
        CurveRow(c.run, c.hook, c.split, c.noise, rows, c.measure, value)
        for c in curves
        for rows, value in zip(c.rows, c.values, strict=True)
    ]


def rows_to_near_end(curve: TrainingCurve, near: float = NEAR) -> int | None:
    """Return the rows from which on the curve stays within the share `near` of its last value; None if that is 0.

    The result is one of the recorded points; on the held-out split, these are the validations.
    """
    last = curve.values[-1]
    if last == 0:
        return None
    away = [i for i, value in enumerate(curve.values) if abs(value / last - 1) > near]
    return curve.rows[away[-1] + 1] if away else curve.rows[0]
