"""What runs came to: each one's last measures on the held-out split, by layer, as training wrote them.

Not here: measures of its own.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from data.errors import InputError
from train.checkpoint import RunFolder

Row = dict[str, Any]
MEASURES = ("l0", "l1", "l2", "explained_variance", "suppression", "suppression_mean", "gamma", "dead", "silent")
SHOWN = {"l0": "L0", "l2": "L2", "explained_variance": "explained variance", "suppression": "suppression",
         "gamma": "γ", "dead": "dead"}  # fmt: skip


def find_runs(paths: Iterable[Path]) -> list[RunFolder]:
    """The runs given, and those in the experiments' folders given. Raises InputError where a folder has none."""
    found = []
    for path in paths:
        folders = [RunFolder(folder) for folder in (path, *sorted(path.glob("*")))]
        here = [folder for folder in folders if folder.settings.is_file()]
        if not here:
            raise InputError(f"{path} has no run; give a folder that `train --out` wrote, or a run's in it")
        found += here
    return found


def last_measures(run: RunFolder) -> list[Row]:
    """The last held-out records of a run, one for each layer and, for noisy architectures, noise off and on.

    Raises InputError where it has none yet.
    """
    last: dict[str, dict[bool, Row]] = {}
    for line in run.metrics.read_text().splitlines() if run.metrics.is_file() else ():
        record = json.loads(line)
        if record["split"] == "heldout":
            last.setdefault(record["hook"], {})[record["noise"]] = record
    if not last:
        raise InputError(f"{run.path} has no measure on the held-out split yet; let it train to its first validation")
    return [
        {"run": run.path.name, **{name: several[noise][name] for name in ("hook", "noise", "rows", *MEASURES)}}
        for several in last.values()
        for noise in sorted(several)
    ]


def as_csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_table(rows: Sequence[Row]) -> str:
    """Markdown, of rows in `last_measures`' order; a noisy architecture's cells are "off / on" where these differ."""
    hooks = list(dict.fromkeys(row["hook"] for row in rows))
    lines = ["| hook | run | " + " | ".join(SHOWN.values()) + " |", "|" + "---|" * (2 + len(SHOWN))]
    for (hook, run), off_on in groupby(
        sorted(rows, key=lambda row: hooks.index(row["hook"])), itemgetter("hook", "run")
    ):
        several = list(off_on)
        cells = [" / ".join(dict.fromkeys(_short(row[name]) for row in several)) for name in SHOWN]
        lines.append(f"| {hook} | {run} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
