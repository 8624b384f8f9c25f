"""The last held-out measures that training recorded, by run and layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from analyze.runs.progress import LeftOut, Usable
from analyze.runs.settled import SETTLED, drifts, has_settled
from analyze.runs.trained_run import TrainedRun
from analyze.runs.training_curves import training_curves
from analyze.tables import how_far, markdown, short
from data.errors import InputError
from train.measures import DEAD_ROWS, TRAINING, Sample, Shown, measures_on
from train.output.metrics_file import read_records

COMPARABLE = [name for name in TRAINING if name != "loss"]  # the loss contains each run's own β


@dataclass(frozen=True)
class RecordedRow:
    """The last held-out measures of an SAE that training recorded, noise off or on.

    rows: the rows that the run was trained on when it was measured; None, as `planned`, if an imported run does not
        record them.
    settled: None if the log does not tell.
    measures: by name, a column each.
    dead_rows: the rows in which dead features were counted; None if the log does not tell.
    """

    run: str
    hook: str
    noise: bool
    rows: int | None
    planned: int | None
    finished: bool
    settled: bool | None
    measures: Mapping[str, float | None]
    dead_rows: int | None


def last_measures(run: TrainedRun) -> list[RecordedRow]:
    """Return the last held-out record of each hook, with noise off, and on if the architecture has noise.

    Empty before the first validation. Imported runs were measured when they were imported.
    """
    known = run.settings.rows_known
    changes = drifts(training_curves([run]), [run])
    last: dict[str, dict[bool, dict[str, Any]]] = {}
    for record in read_records(run.folder):
        if record["split"] == "heldout":
            last.setdefault(record["hook"], {})[record["noise"]] = record
    return [
        RecordedRow(
            run.name, hook, noise, record["rows"] if known else None, run.planned if known else None,
            record["rows"] >= run.planned, has_settled(changes, run.name, hook),
            {name: record[name] for name in COMPARABLE}, record.get(DEAD_ROWS),
        )
        for hook, by_noise in last.items()
        for noise, record in sorted(by_noise.items())
    ]  # fmt: skip


def validated(chosen: Usable) -> Usable:
    """Leave out the runs without held-out measures. Raises InputError if no run has any."""
    why = "has no measure on the held-out split yet; let it train to its first validation"
    without = [run for run in chosen.runs if not last_measures(run)]
    if len(without) == len(chosen.runs):
        raise InputError(f"{without[0].folder.path} {why}")
    left_out = [LeftOut(run.name, why) for run in without]
    return Usable([run for run in chosen.runs if run not in without], chosen.left_out + left_out)


def as_table(rows: Sequence[RecordedRow]) -> str:
    """Return a Markdown table of `last_measures`. With noise, a cell is "off / on" where the two differ."""
    hooks = list(dict.fromkeys(row.hook for row in rows))
    shown, lines = measures_on(Sample.TRAINING, Shown.TABLES), []
    for (hook, run), off_on in groupby(
        sorted(rows, key=lambda row: hooks.index(row.hook)), key=lambda row: (row.hook, row.run)
    ):
        by_noise = list(off_on)
        cells = [" / ".join(dict.fromkeys(short(row.measures[name]) for row in by_noise)) for name in shown]
        trained = dict.fromkeys(how_far(row.rows, row.planned) for row in by_noise)
        dead_rows = by_noise[0].dead_rows
        counted = "–" if dead_rows is None else f"{dead_rows:,} rows"
        lines.append([hook, run, " / ".join(trained), SETTLED[by_noise[0].settled], *cells, counted])
    titles = [measure.title for measure in shown.values()]
    return markdown(["hook", "run", "trained on", "settled", *titles, "dead counted in"], lines)
