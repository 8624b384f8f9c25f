"""The measures that a model card shows: those of a report, with intervals, or the last of training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import InputError
from train.measures import DEAD_ROWS
from train.output.metrics_file import read_records
from train.push.content import FinishedRun

FROM_TRAINING = ("l0", "explained_variance", "suppression", "dead")
FROM_REPORT = {"measures": ("l0", "explained_variance", "suppression", "cosine"), "patching": ("score", "kl")}


@dataclass(frozen=True)
class Value:
    """A measure with its 95 % interval, if there is one."""

    value: float
    low: float | None = None
    high: float | None = None


Measured = dict[str, dict[str, Value]]  # by hook and by measure, with noise off


@dataclass(frozen=True)
class Measures:
    """The measures of runs. `explanation`: a sentence that says what they were measured on."""

    of_run: Mapping[str, Measured]
    explanation: str


def measures_of(runs: Sequence[FinishedRun], report: Path | None) -> Measures:
    """Return the measures of each run by its name in `runs`.

    report: the folder of a report, or its metrics.json; None: the last validation of training.

    Raises InputError if the report cannot be read, is of another store, or lacks a run.
    """
    if report is None:
        explanation = (
            "The last held-out measures of each run, noise off. dead: share of features that never fired in the last "
            "rows of training that were counted."
        )
        return Measures({run.name: _last_validation(run) for run in runs}, explanation)
    tables = _read_report(report)
    store = tables.get("store") or {}
    for run in runs:
        if run.settings.experiment.store not in (store.get("fingerprint"), store.get("identity")):
            raise InputError(f"--report {report}: is of another store than that of {run.folder.path}; give another")
    explanation = "Measured by `analyze report` on held-out documents, noise off, with 95 % intervals over documents."
    return Measures({run.name: _reported(tables, run, report) for run in runs}, explanation)


def _last_validation(run: FinishedRun) -> Measured:
    records = [r for r in read_records(run.folder) if r["split"] == "heldout" and not r["noise"]]
    last = [record for record in records if record["step"] == records[-1]["step"]]
    return {
        record["hook"]: {
            name: Value(record[name])
            for name in FROM_TRAINING
            if record.get(name) is not None and (name != "dead" or record.get(DEAD_ROWS))
        }
        for record in last
    }


def _read_report(report: Path) -> dict[str, Any]:
    file = report / "metrics.json" if report.is_dir() else report
    try:
        tables = json.loads(file.read_bytes())
    except OSError as error:
        raise InputError(f"--report {file}: cannot be read ({error.strerror}); give the folder of a report") from error
    except ValueError as error:
        raise InputError(f"--report {file}: is not the metrics.json of a report ({error})") from error
    if not isinstance(tables, dict) or not isinstance(tables.get("measures"), list):
        raise InputError(f"--report {file}: is not the metrics.json of a report; give the folder of a report")
    return tables


def _reported(tables: Mapping[str, Any], run: FinishedRun, report: Path) -> Measured:
    name = run.name if "/" in run.name else run.settings.run.name  # of several experiments, a report names both
    measured = Measured()
    rows = [(measures, row) for table, measures in FROM_REPORT.items() for row in tables.get(table) or ()]
    try:
        for measures, row in rows:
            of_run = row["run"] == name and not row["noise"] and row.get("subset", "all") == "all"
            if of_run and row["measure"] in measures and row["value"] is not None:
                bounds = (None if row[key] is None else float(row[key]) for key in ("low", "high"))
                value = Value(float(row["value"]), *bounds)
                measured.setdefault(str(row["hook"]), {})[row["measure"]] = value
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"--report {report}: is not the metrics.json of a report ({error!r})") from error
    if not measured:
        raise InputError(f"--report {report}: has no run {name}; give a report on it, or leave --report out")
    return measured
