"""Open an experiment's folder for writing: create it or continue in it, and put its runs back to a checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.command.progress import Bar
from data.system.location import sync_directory
from train.experiment import Experiment
from train.output.experiment_writer import ExperimentWriter
from train.output.files.checked import DamagedRunError, check_extent
from train.output.manifests import CHECKPOINTS, KEPT, START, Manifest, Manifests
from train.output.metrics_file import JsonLines
from train.output.run_folder import RunFolder, check_folder, read_checkpoint
from train.output.run_state import RunState
from train.output.settings import ExperimentRecord, read_experiment, write_run_settings


class ExperimentFolder:
    """An experiment's folder with its settings written. `restore` gives the writer of everything else."""

    def __init__(
        self, path: Path, experiment: Experiment, *, command: Mapping[str, Any], provenance: Mapping[str, Any],
        overwrites: bool = False,
    ) -> None:  # fmt: skip
        """Create or continue the experiment in `path`: write experiment.json and each run's run.json.

        `command` holds the options for --resume; `overwrites` says that --overwrite was among them.
        """
        self.path, self.experiment = path, experiment
        self._manifests = Manifests(path / CHECKPOINTS)
        self._folders = {run.name: RunFolder(path / run.name) for run in experiment.runs}
        recorded = read_experiment(path)
        self._record = recorded or ExperimentRecord(experiment.to_json(), dict(command), overwrites=overwrites)
        if recorded is None:
            self._record.write(path)
        for run in experiment.runs:
            write_run_settings(self._folders[run.name], experiment, run, provenance)
        for folder in (path, path.absolute().parent):
            sync_directory(folder)

    def measure_once(self, name: str, measure: Callable[[], float]) -> float:
        """Measure a figure when the experiment begins; return the recorded one when it continues."""
        if name not in self._record.measured:
            self._record = replace(self._record, measured={**self._record.measured, name: measure()})
            self._record.write(self.path)
        return self._record.measured[name]

    def restore(
        self, runs: Sequence[RunState], *, logs: Sequence[str] = (), checkpoint_seconds: float, replaces: Path | None
    ) -> ExperimentWriter:
        """Put the runs back to the newest undamaged checkpoint, and remove everything written after it.

        Returns the writer for the rest of the training; its `start` is that checkpoint. `logs` and `replaces`: see
        ExperimentWriter. Raises DamagedRunError if there are checkpoints and all are damaged.
        """
        diverged = {name for name, folder in self._folders.items() if folder.failure.exists()}
        active = [state for state in runs if state.run.name not in diverged]
        start = self._newest_undamaged([state.run.name for state in active])
        kept = set(self._manifests.names()[-KEPT:])
        metrics = {}
        for state in active:
            folder = self._folders[state.run.name]
            size = 0
            if start is not START:
                where = folder.checkpoint_or_final(start.name)
                checkpoint = read_checkpoint(where)
                state.restore(checkpoint, where=where)
                size = checkpoint.info.metrics.bytes if checkpoint.info.metrics else 0
            folder.keep(kept)
            folder.keep_snapshots(before=start.step + ("snapshot" not in start.pending))
            metrics[state.run.name] = JsonLines(folder.metrics, size=size)
        return ExperimentWriter(
            self.path, self.experiment, start=start, metrics=metrics, diverged=diverged, logs=logs,
            checkpoint_seconds=checkpoint_seconds, replaces=replaces,
        )  # fmt: skip

    def _newest_undamaged(self, runs: Sequence[str]) -> Manifest:
        """Return the newest checkpoint without a damaged file, and remove later ones; START if there was never one."""
        names = self._manifests.names()
        damages: list[DamagedRunError] = []
        while names:
            try:
                manifest = self._manifests.read(names[-1])
                self._check(manifest, names[-1], runs)
            except DamagedRunError as error:
                damages.append(error)
                names.pop()
                continue
            for damage in damages:
                Bar.write(f"{damage}; training goes on from the checkpoint before it, {manifest.name}", file=sys.stderr)
            self._manifests.keep(set(names))
            return manifest
        if damages:
            raise DamagedRunError(f"{damages[0]}; no other checkpoint is left")
        return START

    def _check(self, manifest: Manifest, name: str, runs: Sequence[str]) -> None:
        """Raise DamagedRunError unless a checkpoint is whole and is that of all these runs."""
        if manifest.name != name or not set(runs) <= set(manifest.runs):
            raise DamagedRunError(f"{self.path / CHECKPOINTS / name}.json is damaged: it is of another checkpoint")
        for run in runs:
            folder = self._folders[run]
            where = folder.checkpoint_or_final(name)
            info = check_folder(where)
            if info.step != manifest.step or info.metrics is None:
                raise DamagedRunError(f"{where} is damaged: it is of another checkpoint")
            check_extent(folder.metrics, info.metrics, whole=False)
