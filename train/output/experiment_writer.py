"""Write the results of a training under way: records, timing, snapshots, checkpoints and final weights."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from data.command.progress import Bar
from data.errors import InputError
from data.system.replace import take_place
from train.experiment import Experiment, Run
from train.output.files.checked import write_checked
from train.output.manifests import CHECKPOINTS, KEPT, Manifest, Manifests
from train.output.metrics_file import JsonLines, Record
from train.output.run_folder import RunFolder, remove_folder
from train.output.run_state import RunState
from train.output.settings import Failure, sae_metadata
from train.output.sinks import Sink, open_sinks

FIRST_STEPS = 2  # the loss of the second step shows whether the first one broke the weights


class Writer(Protocol):
    """The interface of a training's output. All ranks call it: rank 0 an ExperimentWriter, others a RankWriter."""

    start: Manifest
    diverged: set[str]

    def record(self, records: Sequence[tuple[str, Record]]) -> None: ...

    def add_timing(self, *, rows: int, waited: float) -> None: ...

    def write_timing(self, step: int, rows: int) -> None: ...

    def note(self, sentence: str) -> None: ...

    def mark_diverged(self, run: str, hook: str, step: int) -> None: ...

    def snapshot(self, step: int, runs: Sequence[RunState]) -> None: ...

    def checkpoint_is_due(self, step: int) -> bool: ...

    def checkpoint(self, step: int, pending: Sequence[str], runs: Sequence[RunState]) -> None: ...

    def finish(self, runs: Sequence[RunState]) -> None: ...

    def close(self) -> None: ...


class ExperimentWriter:
    """The results of a training under way, written to its folder. Made by ExperimentFolder.restore.

    start: the checkpoint that training continues from.
    diverged: names of the runs that diverged.
    """

    def __init__(
        self, path: Path, experiment: Experiment, *, start: Manifest, metrics: Mapping[str, JsonLines],
        diverged: set[str], logs: Sequence[str], checkpoint_seconds: float, replaces: Path | None,
    ) -> None:  # fmt: skip
        """Open the files beside `metrics`, each active run's metrics.jsonl.

        `logs` names the sinks that records also go to. If `replaces` is given, this folder takes its place with the
        first checkpoint, which comes after FIRST_STEPS steps.
        """
        self.experiment, self.start, self.diverged = experiment, start, diverged
        self._replaces = replaces
        self._move_to(path)
        self._metrics, self._timing = metrics, Timing(path / "timing.jsonl")
        self._newest, self._saved_at, self._checkpoint_seconds = start, time.monotonic(), checkpoint_seconds
        self._logs, self._sinks, self._unsent = logs, list[Sink](), list[tuple[str, list[Record]]]()
        if replaces is None:
            self._open_sinks()

    def _move_to(self, path: Path) -> None:
        self._path, self._manifests = path, Manifests(path / CHECKPOINTS)
        self._folders = {run.name: RunFolder(path / run.name) for run in self.experiment.runs}

    def _open_sinks(self) -> None:
        """Open the sinks once the folder has its final name: some of them reopen their files by name."""
        self._sinks = open_sinks(self._logs, self._path, self.experiment.to_json())
        for name, records in self._unsent:
            for sink in self._sinks:
                sink.write(name, records)
        self._unsent = []

    def record(self, records: Sequence[tuple[str, Record]]) -> None:
        """Write (run's name, record) pairs of one step to metrics.jsonl and the sinks, except those of diverged runs.

        A run's records are written noise off before on, each in the order of the hooks.
        """
        hooks = self.experiment.hooks
        for name, lines in self._metrics.items():
            run_records = [record for run, record in records if run == name and name not in self.diverged]
            run_records.sort(key=lambda record: (record["noise"], hooks.index(record["hook"])))
            if run_records:
                lines.write(run_records)
                if self._replaces is not None:
                    self._unsent.append((name, run_records))
                for sink in self._sinks:
                    sink.write(name, run_records)

    def add_timing(self, *, rows: int, waited: float) -> None:
        """Add a step's rows, and the seconds for which it waited for them, to the next line of timing.jsonl."""
        self._timing.add(rows, waited)

    def write_timing(self, step: int, rows: int) -> None:
        """Write the speed since the last line to timing.jsonl."""
        self._timing.write(step, rows)

    def note(self, sentence: str) -> None:
        """Print a sentence on standard error."""
        Bar.write(sentence, file=sys.stderr)

    def mark_diverged(self, run: str, hook: str, step: int) -> None:
        """Record that a run's loss is not finite. Its checkpoints stay as they are."""
        self.diverged.add(run)
        write_checked(self._folders[run].failure, asdict(Failure(step, hook, "non-finite loss")))

    def snapshot(self, step: int, runs: Sequence[RunState]) -> None:
        """Save the weights of all runs after `step` steps."""
        for state in runs:
            self._folders[state.run.name].save_snapshot(
                step, state.gather_sae(), sae_metadata(self.experiment, state.run)
            )

    def checkpoint_is_due(self, step: int) -> bool:
        """Return whether it is time for a checkpoint; a replacing experiment has its first after FIRST_STEPS steps."""
        if self._replaces is not None:
            return step >= FIRST_STEPS
        return time.monotonic() - self._saved_at > self._checkpoint_seconds

    def checkpoint(self, step: int, pending: Sequence[str], runs: Sequence[RunState]) -> None:
        """Save all runs after `step` steps; `pending` lists the tasks of that step not done yet.

        The manifest is written last: without it the runs' files do not count.
        """
        manifest = Manifest(step, tuple(pending), tuple(state.run.name for state in runs))
        if not runs or same_checkpoint(manifest, self._newest):
            return
        for state in runs:
            folder = self._folders[state.run.name]
            checkpoint = state.save(step, metrics=self._metrics[state.run.name].sync())
            folder.save_checkpoint(manifest.name, checkpoint, sae_metadata(self.experiment, state.run))
        self._manifests.write(manifest)
        kept = set(self._manifests.names()[-KEPT:])
        self._manifests.keep(kept)
        for state in runs:
            self._folders[state.run.name].keep(kept)
        self._newest, self._saved_at = manifest, time.monotonic()
        if self._replaces is not None:
            take_place(self._replaces)
            self._move_to(self._replaces)
            self._replaces = None
            self._open_sinks()

    def finish(self, runs: Sequence[RunState]) -> None:
        """Make the newest checkpoint, that of the last step, the final weights."""
        if self._replaces is not None:
            raise InputError(
                f"no run had a finite loss in its first steps, so {self._replaces} stays as it is; give a smaller --lr"
            )
        for state in runs:
            self._folders[state.run.name].finish(self._newest.name)
        remove_checkpoints(self._path, self.experiment.runs)

    def close(self) -> None:
        """Close all files."""
        self._timing.close()
        for lines in self._metrics.values():
            lines.close()
        for sink in self._sinks:
            sink.close()


def same_checkpoint(one: Manifest, other: Manifest) -> bool:
    """Return whether two checkpoints are of the same state, even if runs diverged between them."""
    return (one.step, one.pending) == (other.step, other.pending)


class Timing:
    """timing.jsonl: the speed between two of its lines."""

    def __init__(self, path: Path) -> None:
        self._lines = JsonLines(path)
        self._began = time.perf_counter()
        self._rows, self._waited = 0, 0.0

    def add(self, rows: int, waited: float) -> None:
        self._rows += rows
        self._waited += waited

    def write(self, step: int, rows: int) -> None:
        now = time.perf_counter()
        seconds = now - self._began
        self._lines.write(
            [
                {
                    "step": step, "rows": rows, "seconds": seconds, "rows_per_second": self._rows / seconds,
                    "data_wait_seconds": self._waited, "data_wait_share": self._waited / seconds,
                }
            ]
        )  # fmt: skip
        self._began, self._rows, self._waited = now, 0, 0.0

    def close(self) -> None:
        self._lines.close()


def remove_checkpoints(out: Path, runs: Sequence[Run]) -> None:
    """Remove the checkpoints of a finished experiment, except those of runs that diverged."""
    for run in runs:
        folder = RunFolder(out / run.name)
        if folder.final.exists():
            remove_folder(folder.path / "checkpoints")
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
