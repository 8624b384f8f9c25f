"""What runs came to: each one's last measures on the held-out split, by layer, as training wrote them.

Not here: measures of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

from analyze.fitted import FittedRun
from analyze.tables import Row, markdown, short
from analyze.training import records
from data.errors import InputError

MEASURES = ("l0", "l1", "l2", "explained_variance", "suppression", "suppression_mean", "gamma", "dead", "silent")
SHOWN = {"l0": "L0", "l2": "L2", "explained_variance": "explained variance", "suppression": "suppression",
         "gamma": "γ", "dead": "dead"}  # fmt: skip


def last_measures(run: FittedRun) -> list[Row]:
    """The last held-out records of a run, one for each layer and, for noisy architectures, noise off and on.

    Raises InputError where it has none yet.
    """
    last: dict[str, dict[bool, Row]] = {}
    for record in records(run):
        if record["split"] == "heldout":
            last.setdefault(record["hook"], {})[record["noise"]] = record
    if not last:
        raise InputError(
            f"{run.folder.path} has no measure on the held-out split yet; let it train to its first validation"
        )
    return [
        {"run": run.name, **{name: several[noise][name] for name in ("hook", "noise", "rows", *MEASURES)}}
        for several in last.values()
        for noise in sorted(several)
    ]


def as_table(rows: Sequence[Row]) -> str:
    """Markdown, of rows in `last_measures`' order; a noisy architecture's cells are "off / on" where these differ."""
    hooks = list(dict.fromkeys(row["hook"] for row in rows))
    lines = []
    for (hook, run), off_on in groupby(
        sorted(rows, key=lambda row: hooks.index(row["hook"])), itemgetter("hook", "run")
    ):
        several = list(off_on)
        cells = [" / ".join(dict.fromkeys(short(row[name]) for row in several)) for name in SHOWN]
        lines.append([hook, run, *cells])
    return markdown(["hook", "run", *SHOWN.values()], lines)
