"""The last held-out measures that training recorded, by run and layer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

from analyze.runs.progress import Usable
from analyze.runs.settled import SETTLED, drifts, has_settled
from analyze.runs.trained_run import TrainedRun
from analyze.runs.training_curves import training_curves
from analyze.tables import Row, how_far, markdown, short
from data.errors import InputError
from train.measures import DEAD_ROWS, TRAINING, Sample, Shown, measures_on
from train.output.metrics_file import read_records

COMPARABLE = [name for name in TRAINING if name != "loss"]  # the loss contains each run's own β


def last_measures(run: TrainedRun) -> list[Row]:
    """Return the last held-out record of each hook, with noise off, and on if the architecture has noise.

    Empty before the first validation. `rows` counts the rows that the run was trained on when it was measured,
    `dead_rows` those in which dead features were counted; None if the log does not tell.
    `settled` says whether the SAE has settled; None if the log does not tell. Imported runs were measured when they
    were imported; `rows` and `planned` are None if their files do not record them.
    """
    known = run.settings.training_known
    changes = drifts(training_curves([run]), [run])
    last: dict[str, dict[bool, Row]] = {}
    for record in read_records(run.folder):
        if record["split"] == "heldout":
            last.setdefault(record["hook"], {})[record["noise"]] = record
    return [
        {"run": run.name, "hook": record["hook"], "noise": record["noise"], "rows": record["rows"] if known else None,
         "planned": run.planned if known else None, "finished": record["rows"] >= run.planned,
         "settled": has_settled(changes, run.name, record["hook"]),
         **{name: record[name] for name in COMPARABLE}, DEAD_ROWS: record.get(DEAD_ROWS)}
        for by_noise in last.values()
        for _, record in sorted(by_noise.items())
    ]  # fmt: skip


def validated(chosen: Usable) -> Usable:
    """Leave out the runs without held-out measures. Raises InputError if no run has any."""
    why = "has no measure on the held-out split yet; let it train to its first validation"
    without = [run for run in chosen.runs if not last_measures(run)]
    if len(without) == len(chosen.runs):
        raise InputError(f"{without[0].folder.path} {why}")
    left_out = [{"run": run.name, "why": why} for run in without]
    return Usable([run for run in chosen.runs if run not in without], chosen.left_out + left_out)


def as_table(rows: Sequence[Row]) -> str:
    """Return a Markdown table of `last_measures`. With noise, a cell is "off / on" where the two differ."""
    hooks = list(dict.fromkeys(row["hook"] for row in rows))
    shown, lines = measures_on(Sample.TRAINING, Shown.TABLES), []
    for (hook, run), off_on in groupby(
        sorted(rows, key=lambda row: hooks.index(row["hook"])), itemgetter("hook", "run")
    ):
        by_noise = list(off_on)
        cells = [" / ".join(dict.fromkeys(short(row[name]) for row in by_noise)) for name in shown]
        trained = dict.fromkeys(how_far(row["rows"], row["planned"]) for row in by_noise)
        dead_rows = by_noise[0][DEAD_ROWS]
        counted = "–" if dead_rows is None else f"{dead_rows:,} rows"
        lines.append([hook, run, " / ".join(trained), SETTLED[by_noise[0]["settled"]], *cells, counted])
    titles = [measure.title for measure in shown.values()]
    return markdown(["hook", "run", "trained on", "settled", *titles, "dead counted in"], lines)
