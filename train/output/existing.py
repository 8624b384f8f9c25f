"""An experiment's folder as it lies on disk: whether it is the one asked for, and the results in it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from data.errors import InputError
from train.experiment import Experiment, Run, differences
from train.output.checked import DamagedRunError, read_checked, write_checked
from train.output.metrics_file import Record, read_records
from train.output.run_folder import RunFolder, remove_folder
from train.output.typed import typed
from train.sae import ARCHITECTURES

EXPERIMENT = "experiment.json"
CHECKPOINTS = "checkpoints"  # the folder of the marks
PLAIN = re.compile(r"\w[\w.,=+-]*", re.ASCII)  # leads to no other folder


@dataclass(frozen=True)
class Recorded:
    """experiment.json: the settings, the command for --resume, and figures measured as the experiment began."""

    settings: dict[str, Any]
    command: dict[str, Any]
    measured: dict[str, float] = field(default_factory=dict)
    overwrites: bool = False  # begun with --overwrite: the same command continues it

    def write(self, out: Path) -> None:
        write_checked(out / EXPERIMENT, asdict(self))


@dataclass(frozen=True)
class Failure:
    """failed.json: where a run's loss was no number."""

    step: int
    hook: str
    why: str


def read_experiment(out: Path) -> Recorded | None:
    """What OUT/experiment.json says; None where there is none. Raises DamagedRunError."""
    return read_checked(Recorded, out / EXPERIMENT) if (out / EXPERIMENT).exists() else None


def read_settings(folder: RunFolder) -> dict[str, Any]:
    """A run's run.json: its experiment's settings with this run as `run`, and `provenance`. Raises DamagedRunError."""
    found = read_checked(dict[str, Any], folder.settings)
    shared = {name: value for name, value in found.items() if name not in ("run", "provenance")}
    try:
        typed(dict[str, Any], found.get("provenance"), "provenance")
        experiment = typed(Experiment, {**shared, "runs": [found.get("run")]})
        _check_values(experiment)
    except ValueError as error:
        raise DamagedRunError(f"{folder.settings} is damaged: {error}") from error
    return found


def _check_values(experiment: Experiment) -> None:
    """Raise ValueError where a value is one that `train` never writes."""
    for name in (*experiment.hooks, *(run.name for run in experiment.runs)):
        if not PLAIN.fullmatch(name):
            raise ValueError(f"{name[:80]!r} is no name of a hook or a run")
    for run in experiment.runs:
        if run.variant not in ARCHITECTURES:
            raise ValueError(f"the variant {run.variant[:80]!r} is not known here")
    if not experiment.hooks or len(set(experiment.hooks)) < len(experiment.hooks):
        raise ValueError("its hooks are not a list of different names")
    if not 0 < experiment.batch_size <= experiment.schedule.total:
        raise ValueError("its batch is no part of its rows")


def check_existing(out: Path, experiment: Experiment, *, overwrite: bool) -> bool:
    """Whether the experiment in `out` is this one and finished.

    Raises InputError, naming what differs, where it is another one and `overwrite` is not set; DamagedRunError where it
    was finished and is not whole.
    """
    if not (out / EXPERIMENT).exists():
        begun = {EXPERIMENT + ".partial"}  # all that a kill may leave of the first file
        if out.exists() and (not out.is_dir() or {path.name for path in out.iterdir()} - begun):
            raise InputError(f"--out {out}: exists and holds no experiment of `train`; choose another --out")
        return False
    if overwrite:
        return False
    found = read_experiment(out)
    assert found is not None
    now = json.loads(json.dumps(experiment.to_json()))
    if found.settings != now:
        try:
            typed(Experiment, found.settings)
        except ValueError as error:
            raise InputError(
                f"{out / EXPERIMENT} was written by another version ({error}); give another --out"
            ) from error
        raise InputError(
            f"--out {out}: holds an experiment with other settings: {'; '.join(differences(found.settings, now))}; "
            "give the same settings to continue it, --overwrite to replace it, or another --out"
        )
    lacking = missing_finals(out, [run.name for run in experiment.runs])
    if lacking:
        raise DamagedRunError(f"{lacking[0]} is missing, and the other runs are finished")
    folders = [RunFolder(out / run.name) for run in experiment.runs]
    return all(folder.final.exists() or folder.failure.exists() for folder in folders)


def missing_finals(out: Path, names: Collection[str]) -> list[Path]:
    """The final weights that a finished experiment has lost: its checkpoints are removed once all runs have them."""
    folders = [RunFolder(out / name) for name in names]
    if any((out / CHECKPOINTS).glob("*.json")) or not any(folder.final.exists() for folder in folders):
        return []
    return [folder.final for folder in folders if not (folder.final.exists() or folder.failure.exists())]


def remove_checkpoints(out: Path, runs: Sequence[Run]) -> None:
    """Remove the checkpoints of a finished experiment, but those of runs that were given up."""
    for run in runs:
        folder = RunFolder(out / run.name)
        if folder.final.exists():
            remove_folder(folder.path / "checkpoints")
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)


def final_records(out: Path, runs: Sequence[Run]) -> dict[str, list[Record]]:
    """Each run's last records of the held-out split. Raises DamagedRunError."""
    found: dict[str, list[Record]] = {}
    for run in runs:
        records = [record for record in read_records(RunFolder(out / run.name)) if record["split"] == "heldout"]
        found[run.name] = [record for record in records if record["step"] == records[-1]["step"]]
    return found


def failures(out: Path, runs: Sequence[Run]) -> list[str]:
    """A sentence for each run that was given up. Raises DamagedRunError."""
    found = []
    for run in runs:
        folder = RunFolder(out / run.name)
        if folder.failure.exists():
            why = read_checked(Failure, folder.failure)
            kept = folder.checkpoints
            left = f"its checkpoint {kept[-1]} is kept" if kept else "it has no checkpoint"
            found.append(
                f"run {run.name} was given up at step {why.step}, because {why.why} at {why.hook}; {left}; "
                "give a smaller --lr, or --clip"
            )
    return found
