"""How training went: each run's recorded measures over the rows it saw, and how soon it came near its end.

From metrics.jsonl alone. Not here: measures at the end with intervals (evaluate.py), measures over training that need
the language model (snapshots.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from analyze.runs.trained_run import TrainedRun
from analyze.tables import Row
from train.measures import TRAINING
from train.output.metrics_file import read_records

NEAR = 0.1  # within 10 % of the last L2 is near it


@dataclass(frozen=True)
class TrainingCurve:
    """One measure of one SAE over training; values that were no number are left out."""

    run: str
    hook: str
    split: str
    noise: bool
    measure: str
    rows: list[int]
    values: list[float]


def training_curves(runs: Sequence[TrainedRun]) -> list[TrainingCurve]:
    """All curves of the runs: of the step's own batches (`train`) and the held-out split, noise off and on."""
    found: dict[tuple[str, str, str, bool, str], TrainingCurve] = {}
    for run in runs:
        for record in records(run):
            for measure in TRAINING:
                value = record.get(measure)
                if value is not None and record["noise"] in run.noises:
                    key = (run.name, record["hook"], record["split"], record["noise"], measure)
                    curve = found.setdefault(key, TrainingCurve(*key, [], []))
                    curve.rows.append(record["rows"])
                    curve.values.append(float(value))
    return list(found.values())


def records(run: TrainedRun) -> Iterator[Row]:
    """The lines of a run's metrics.jsonl; none where it has none yet. Raises DamagedRunError."""
    return read_records(run.folder)


def curve_lines(found: Sequence[TrainingCurve]) -> list[Row]:
    """One line a point."""
    return [
        {"run": c.run, "hook": c.hook, "split": c.split, "noise": c.noise, "rows": rows, "measure": c.measure,
         "value": value}
        for c in found
        for rows, value in zip(c.rows, c.values, strict=True)
    ]  # fmt: skip


def rows_to_near_end(curve: TrainingCurve, near: float = NEAR) -> int | None:
    """Rows after which the curve is within this share of its last value for good; None where it ends at 0.

    To the resolution of the recorded points: those of the held-out split are as far apart as validations.
    """
    last = curve.values[-1]
    if last == 0:
        return None
    away = [i for i, value in enumerate(curve.values) if abs(value / last - 1) > near]
    return curve.rows[away[-1] + 1] if away else curve.rows[0]
