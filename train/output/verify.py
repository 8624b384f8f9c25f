"""Check every file of experiments and runs against its checksum."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from data.errors import InputError
from data.store.verify import Problem
from train.output.existing import missing_finals
from train.output.files.checked import DamagedRunError, check_extent
from train.output.manifests import CHECKPOINTS, Manifests
from train.output.metrics_file import read_records
from train.output.run_folder import STATE_JSON, RunFolder, read_info
from train.output.settings import EXPERIMENT, experiment_of, read_experiment, read_failure, read_run_settings


def verify(path: Path) -> Iterator[Problem | None]:
    """Check an experiment's folder, or a run's: yield None per undamaged file, a Problem per damaged one.

    Raises InputError if `path` is neither.
    """
    if not any((path / name).exists() for name in (EXPERIMENT, "run.json")):
        raise InputError(f"{path} has no run; give a folder that `train --out` wrote, or a run's in it")
    if not (path / EXPERIMENT).exists():
        yield from _run(RunFolder(path))
        return
    names = {folder.parent.name for folder in path.glob("*/run.json")}
    manifests = Manifests(path / CHECKPOINTS)
    # Before the first checkpoint, a killed command may have written the settings of only some runs.
    all_written = bool(manifests.names()) or any(RunFolder(path / name).final.exists() for name in names)
    try:
        recorded = read_experiment(path)
        if recorded is not None and all_written:
            names |= {run.name for run in experiment_of(recorded.settings).runs}
        yield None
    except (InputError, ValueError) as error:
        yield Problem(str(path / EXPERIMENT), str(error))
    for name in manifests.names():
        yield _problem(manifests.folder / f"{name}.json", partial(manifests.read, name))
    for name in sorted(names):
        yield from _run(RunFolder(path / name), name)
    yield from (Problem(str(folder), f"{folder} is missing") for folder in missing_finals(path, names))


def _run(folder: RunFolder, name: str | None = None) -> Iterator[Problem | None]:
    """Check a run's files; `name` is its name in the experiment."""
    yield _problem(folder.settings, partial(_check_settings, folder, name))
    if folder.failure.exists():
        yield _problem(folder.failure, partial(read_failure, folder))
    yield _problem(folder.metrics, lambda: list(read_records(folder)))
    states = [folder.final] if folder.final.exists() else []
    states += [folder.checkpoint(name) for name in folder.checkpoints]
    for state in [*states, *(folder.snapshot(step) for step in folder.snapshot_steps())]:
        try:
            info = read_info(state)
        except DamagedRunError as error:
            yield Problem(str(state / STATE_JSON), str(error))
            continue
        yield None
        for name, expected in info.files.items():
            yield _problem(state / name, partial(check_extent, state / name, expected, whole=True))


def _check_settings(folder: RunFolder, name: str | None) -> None:
    recorded_name = read_run_settings(folder).run.name
    if name not in (None, recorded_name):
        raise DamagedRunError(f"{folder.settings} is that of another run, {recorded_name}")


def _problem(file: Path, check: Callable[[], object]) -> Problem | None:
    try:
        check()
    except DamagedRunError as error:
        return Problem(str(file), str(error))
    return None
