"""What runs came to: each one's last measures on the held-out split, by layer, as training wrote them.

Not here: measures of its own.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from data.errors import InputError

Row = dict[str, Any]
MEASURES = ("l0", "l1", "l2", "explained_variance", "suppression", "suppression_mean", "gamma", "dead", "silent")
SHOWN = {"l0": "L0", "l2": "L2", "explained_variance": "explained variance", "suppression": "suppression",
         "gamma": "γ", "dead": "dead"}  # fmt: skip


def find_runs(paths: Iterable[Path]) -> list[Path]:
    """Run folders: those given, and those in the experiments' folders given. Raises InputError where one has none."""
    found = []
    for path in paths:
        here = [path] if (path / "run.json").is_file() else sorted(file.parent for file in path.glob("*/run.json"))
        if not here:
            raise InputError(f"{path} has no run; give a folder that `train --out` wrote, or a run's in it")
        found += here
    return found


def last_measures(run: Path) -> list[Row]:
    """The last held-out records of a run, one for each layer and, for noisy architectures, noise off and on.

    Raises InputError where it has none yet.
    """
    last: dict[tuple[str, bool], Row] = {}
    file = run / "metrics.jsonl"
    for line in file.read_text().splitlines() if file.is_file() else ():
        record = json.loads(line)
        if record["split"] == "heldout":
            last[record["hook"], record["noise"]] = record
    if not last:
        raise InputError(f"{run} has no measure on the held-out split yet; let it train to its first validation")
    hooks = list(dict.fromkeys(hook for hook, _ in last))
    ordered = sorted(last.items(), key=lambda item: (hooks.index(item[0][0]), item[0][1]))
    return [
        {"run": run.name, "hook": hook, "noise": noise, "rows": record["rows"], **{m: record[m] for m in MEASURES}}
        for (hook, noise), record in ordered
    ]


def as_csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_table(rows: Sequence[Row]) -> str:
    """Markdown; a noisy architecture's L0, explained variance and suppression as "off / on"."""
    lines = ["| hook | run | " + " | ".join(SHOWN.values()) + " |", "|" + "---|" * (2 + len(SHOWN))]
    for hook in dict.fromkeys(row["hook"] for row in rows):
        for run in dict.fromkeys(row["run"] for row in rows if row["hook"] == hook):
            both = sorted(
                (row for row in rows if (row["hook"], row["run"]) == (hook, run)), key=lambda row: row["noise"]
            )
            cells = [" / ".join(dict.fromkeys(_short(row[name]) for row in both)) for name in SHOWN]
            lines.append(f"| {hook} | {run} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
