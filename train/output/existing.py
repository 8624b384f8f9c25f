"""Read an experiment's folder: whether it holds a given experiment, and whether and how its runs ended."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path

from data.errors import InputError
from train.experiment import Experiment, Run, differences
from train.output.checked import DamagedRunError, read_checked
from train.output.manifests import CHECKPOINTS
from train.output.metrics_file import Record, read_records
from train.output.run_folder import RunFolder
from train.output.settings import EXPERIMENT, Failure, read_experiment
from train.output.typed import typed


def check_existing(out: Path, experiment: Experiment, *, overwrite: bool) -> bool:
    """Return whether `out` holds this experiment, finished.

    Raises InputError, which names the differences, if it holds another experiment and `overwrite` is not set;
    DamagedRunError if the experiment was finished and a run's weights are missing.
    """
    if not (out / EXPERIMENT).exists():
        begun = {EXPERIMENT + ".partial"}  # a kill while the first file is written leaves this
        if out.exists() and (not out.is_dir() or {path.name for path in out.iterdir()} - begun):
            raise InputError(f"--out {out}: exists and holds no experiment of `train`; choose another --out")
        return False
    if overwrite:
        return False
    recorded = read_experiment(out)
    assert recorded is not None
    asked = json.loads(json.dumps(experiment.to_json()))
    if recorded.settings != asked:
        try:
            typed(Experiment, recorded.settings)
        except ValueError as error:
            raise InputError(
                f"{out / EXPERIMENT} was written by another version ({error}); give another --out"
            ) from error
        raise InputError(
            f"--out {out}: holds an experiment with other settings: {'; '.join(differences(recorded.settings, asked))};"
            " give the same settings to continue it, --overwrite to replace it, or another --out"
        )
    missing = missing_finals(out, [run.name for run in experiment.runs])
    if missing:
        raise DamagedRunError(f"{missing[0]} is missing, and the other runs are finished")
    folders = [RunFolder(out / run.name) for run in experiment.runs]
    return all(folder.final.exists() or folder.failure.exists() for folder in folders)


def missing_finals(out: Path, names: Collection[str]) -> list[Path]:
    """List the folders of final weights that a finished experiment lacks.

    Its checkpoints are removed only once all runs have final weights, or have diverged.
    """
    folders = [RunFolder(out / name) for name in names]
    if any((out / CHECKPOINTS).glob("*.json")) or not any(folder.final.exists() for folder in folders):
        return []
    return [folder.final for folder in folders if not (folder.final.exists() or folder.failure.exists())]


def final_records(out: Path, runs: Sequence[Run]) -> dict[str, list[Record]]:
    """Return each run's last records of the held-out split, by its name. Raises DamagedRunError."""
    last: dict[str, list[Record]] = {}
    for run in runs:
        records = [record for record in read_records(RunFolder(out / run.name)) if record["split"] == "heldout"]
        last[run.name] = [record for record in records if record["step"] == records[-1]["step"]]
    return last


def read_failure(folder: RunFolder) -> Failure | None:
    """Read a run's failed.json; None if the run has not diverged. Raises DamagedRunError."""
    return read_checked(Failure, folder.failure) if folder.failure.exists() else None


def failures(out: Path, runs: Sequence[Run]) -> list[str]:
    """Return a sentence for each run that diverged. Raises DamagedRunError."""
    sentences = []
    for run in runs:
        folder = RunFolder(out / run.name)
        failure = read_failure(folder)
        if failure is not None:
            names = folder.checkpoints
            kept = f"its checkpoint {names[-1]} is kept" if names else "it has no checkpoint"
            sentences.append(
                f"run {run.name} diverged ({failure.why}) at step {failure.step}, hook {failure.hook}; {kept}; give a "
                "smaller --lr, or --clip"
            )
    return sentences
