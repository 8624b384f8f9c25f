"""What runs came to: each one's last measures on the held-out split, by layer, as training wrote them.

Not here: measures of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

from analyze.runs.progress import Usable
from analyze.runs.trained_run import TrainedRun
from analyze.runs.training_curves import records
from analyze.tables import Row, how_far, markdown, short
from data.errors import InputError
from train.measures import TRAINING, Sample, Shown, measures_on

COMPARABLE = [name for name in TRAINING if name != "loss"]  # the loss has each run's own β


def last_measures(run: TrainedRun) -> list[Row]:
    """The last held-out records of a run, one for each layer and, for noisy architectures, noise off and on.

    `rows` is how many the run had been trained on when it was measured. Empty before the first validation.
    """
    last: dict[str, dict[bool, Row]] = {}
    for record in records(run):
        if record["split"] == "heldout":
            last.setdefault(record["hook"], {})[record["noise"]] = record
    return [
        {"run": run.name, "hook": record["hook"], "noise": record["noise"], "rows": record["rows"],
         "planned": run.planned, "finished": record["rows"] >= run.planned,
         **{name: record[name] for name in COMPARABLE}}
        for several in last.values()
        for _, record in sorted(several.items())
    ]  # fmt: skip


def validated(chosen: Usable) -> Usable:
    """Leave out the runs without a measure on the held-out split. Raises InputError if no run has one."""
    why = "has no measure on the held-out split yet; let it train to its first validation"
    without = [run for run in chosen.runs if not last_measures(run)]
    if len(without) == len(chosen.runs):
        raise InputError(f"{without[0].folder.path} {why}")
    left_out = [{"run": run.name, "why": why} for run in without]
    return Usable([run for run in chosen.runs if run not in without], chosen.left_out + left_out)


def as_table(rows: Sequence[Row]) -> str:
    """Markdown, of rows in `last_measures`' order; a noisy architecture's cells are "off / on" where these differ."""
    hooks = list(dict.fromkeys(row["hook"] for row in rows))
    shown, lines = measures_on(Sample.TRAINING, Shown.TABLES), []
    for (hook, run), off_on in groupby(
        sorted(rows, key=lambda row: hooks.index(row["hook"])), itemgetter("hook", "run")
    ):
        several = list(off_on)
        cells = [" / ".join(dict.fromkeys(short(row[name]) for row in several)) for name in shown]
        trained = dict.fromkeys(how_far(row["rows"], row["planned"]) for row in several)
        lines.append([hook, run, " / ".join(trained), *cells])
    return markdown(["hook", "run", "trained on", *(m.title for m in shown.values())], lines)
