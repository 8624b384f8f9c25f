"""The check that a folder holds a given experiment, and whether that is finished."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from data.errors import InputError
from train.experiment import Experiment, differences
from train.output.files.checked import DamagedRunError
from train.output.manifests import CHECKPOINTS
from train.output.run_folder import RunFolder
from train.output.settings import EXPERIMENT, as_written_now, read_experiment


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
    asked = experiment.to_json()
    try:
        before = as_written_now(recorded.settings)
    except ValueError as error:
        raise InputError(f"{out / EXPERIMENT} was written by another version ({error}); give another --out") from error
    if before != asked:
        raise InputError(
            f"--out {out}: holds an experiment with other settings: {'; '.join(differences(before, asked))};"
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
