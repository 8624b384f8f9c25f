"""An experiment's files: OUT/experiment.json, a folder per run, and timing.jsonl; and how it continues from them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from data.command.progress import Bar
from data.errors import InputError
from data.system.location import sync_directory
from data.system.replace import take_place
from train.experiment import Experiment
from train.output.checked import DamagedRunError, check_extent, write_checked
from train.output.existing import CHECKPOINTS, Failure, Recorded, read_experiment, remove_checkpoints
from train.output.marks import KEPT, Mark, Marks
from train.output.metrics_file import JsonLines, Record
from train.output.records import Sink, open_sinks
from train.output.run_folder import METADATA, RunFolder, check_folder, read_folder
from train.output.run_state import RunState

START = Mark(0, (), ())
FIRST_STEPS = 2  # the second one's loss shows what the first has done to the weights


class Outputs:
    """The experiment's folder, open for writing."""

    def __init__(
        self, out: Path, experiment: Experiment, *, command: Mapping[str, Any], provenance: Mapping[str, Any],
        logs: Sequence[str], checkpoint_seconds: float, overwrites: bool = False, replaces: Path | None = None,
    ) -> None:  # fmt: skip
        """Create or continue the experiment in `out`; with its first checkpoint it takes the place of `replaces`."""
        self.experiment, self._replaces = experiment, replaces
        self._move_to(out)
        self.failed = {name for name, folder in self.folders.items() if folder.failure.exists()}
        self._checkpoint_seconds = checkpoint_seconds
        settings = experiment.to_json()
        found = read_experiment(out)
        self._recorded = found or Recorded(settings, dict(command), overwrites=overwrites)
        if found is None:
            self._recorded.write(out)
        shared = {name: value for name, value in settings.items() if name != "runs"}
        for run in experiment.runs:
            own = {**shared, "run": asdict(run), "provenance": dict(provenance)}
            write_checked(self.folders[run.name].settings, own)
        for folder in (out, out.absolute().parent):
            sync_directory(folder)
        self._logs, self._sinks, self._unsent = logs, list[Sink](), list[tuple[str, list[Record]]]()
        if replaces is None:
            self._open_sinks()
        self._timing = JsonLines(out / "timing.jsonl")
        self._metrics: dict[str, JsonLines] = {}
        self._saved = START  # the newest checkpoint
        self._since, self._saved_at = time.perf_counter(), time.monotonic()
        self._rows, self._waited = 0, 0.0

    def _move_to(self, out: Path) -> None:
        self._out, self._marks = out, Marks(out / CHECKPOINTS)
        self.folders = {run.name: RunFolder(out / run.name) for run in self.experiment.runs}

    def _open_sinks(self) -> None:
        """Some open their files by name again and again, so not before the experiment has its place."""
        self._sinks = open_sinks(self._logs, self._out, self.experiment.to_json())
        for name, records in self._unsent:
            for sink in self._sinks:
                sink.write(name, records)
        self._unsent = []

    def once(self, name: str, measure: Callable[[], float]) -> float:
        """A figure measured as the experiment begins, and kept: where it continues it is the same."""
        if name not in self._recorded.measured:
            measured = {**self._recorded.measured, name: measure()}
            self._recorded = replace(self._recorded, measured=measured)
            self._recorded.write(self._out)
        return self._recorded.measured[name]

    def restore(self, runs: Sequence[RunState]) -> tuple[int, list[str]]:
        """Put the runs back to the newest checkpoint that is whole; what was written after it is removed.

        Returns its step, 0 if there is none, and the work owed after it. Raises DamagedRunError where there are
        checkpoints, and all are damaged.
        """
        going = [state for state in runs if state.run.name not in self.failed]
        mark = self._newest_whole([state.run.name for state in going])
        kept = set(self._marks.names()[-KEPT:])
        for state in going:
            folder = self.folders[state.run.name]
            size = 0
            if mark is not START:
                saved = read_folder(folder.state(mark.name))
                state.restore(saved, where=folder.state(mark.name))
                size = saved.facts.metrics.bytes if saved.facts.metrics else 0
            folder.keep(kept)
            folder.keep_snapshots(before=mark.step + ("snapshot" not in mark.owed))
            self._metrics[state.run.name] = JsonLines(folder.metrics, size=size)
        self._saved = mark
        return mark.step, list(mark.owed)

    def _newest_whole(self, runs: Sequence[str]) -> Mark:
        """The newest checkpoint of which every file is whole; those after it are removed. START where none was made."""
        names = self._marks.names()
        damage: list[DamagedRunError] = []
        while names:
            try:
                mark = self._marks.read(names[-1])
                self._check(mark, names[-1], runs)
            except DamagedRunError as error:
                damage.append(error)
                names.pop()
                continue
            for one in damage:
                Bar.write(f"{one}; training goes on from the checkpoint before it, {mark.name}", file=sys.stderr)
            self._marks.keep(set(names))
            return mark
        if damage:
            raise DamagedRunError(f"{damage[0]}; no other checkpoint is left")
        return START

    def _check(self, mark: Mark, name: str, runs: Sequence[str]) -> None:
        if mark.name != name or not set(runs) <= set(mark.runs):
            raise DamagedRunError(f"{self._out / CHECKPOINTS / name}.json is damaged: it is of another checkpoint")
        for run in runs:
            folder = self.folders[run]
            facts = check_folder(folder.state(name))
            if facts.step != mark.step or facts.metrics is None:
                raise DamagedRunError(f"{folder.state(name)} is damaged: it is of another checkpoint")
            check_extent(folder.metrics, facts.metrics, whole=False)

    def record(self, records: Sequence[tuple[str, Record]]) -> None:
        """Write records, each under its run's name; those of failed runs are left out."""
        for name in self._metrics:
            own = [record for run, record in records if run == name and name not in self.failed]
            if own:
                self._metrics[name].write(own)
                if self._replaces is not None:
                    self._unsent.append((name, own))
                for sink in self._sinks:
                    sink.write(name, own)

    def took(self, *, rows: int, waited: float) -> None:
        """Count a step's rows, and the seconds for which it waited for them."""
        self._rows += rows
        self._waited += waited

    def timing(self, step: int, rows: int) -> None:
        """Write how fast it went since the last time."""
        now = time.perf_counter()
        seconds = now - self._since
        self._timing.write(
            [
                {
                    "step": step, "rows": rows, "seconds": seconds, "rows_per_second": self._rows / seconds,
                    "data_wait_seconds": self._waited, "data_wait_share": self._waited / seconds,
                }
            ]
        )  # fmt: skip
        self._since, self._rows, self._waited = now, 0, 0.0

    def fail(self, run: str, hook: str, step: int) -> None:
        """Give a run up, because its loss is not finite; its checkpoints stay as they are."""
        self.failed.add(run)
        write_checked(self.folders[run].failure, asdict(Failure(step, hook, "the loss is not finite")))

    def snapshot(self, step: int, runs: Sequence[RunState]) -> None:
        for state in runs:
            self.folders[state.run.name].save_snapshot(step, state.sae_tensors(), self._metadata(state))

    def checkpoint_is_due(self, step: int) -> bool:
        """Whether it is time for one; an experiment that replaces another has its first after FIRST_STEPS."""
        if self._replaces is not None:
            return step >= FIRST_STEPS
        return time.monotonic() - self._saved_at > self._checkpoint_seconds

    def checkpoint(self, step: int, owed: Sequence[str], runs: Sequence[RunState]) -> None:
        """Save all runs as they are after `step` steps and the work that follows, except what is owed of it.

        The mark comes last: without it the runs' files do not count.
        """
        mark = Mark(step, tuple(owed), tuple(state.run.name for state in runs))
        if not runs or (mark.step, mark.owed) == (self._saved.step, self._saved.owed):
            return
        for state in runs:
            folder = self.folders[state.run.name]
            saved = state.save(step, metrics=self._metrics[state.run.name].sync())
            folder.save_checkpoint(mark.name, saved, self._metadata(state))
        self._marks.write(mark)
        kept = set(self._marks.names()[-KEPT:])
        self._marks.keep(kept)
        for state in runs:
            self.folders[state.run.name].keep(kept)
        self._saved = mark
        self._saved_at = time.monotonic()
        if self._replaces is not None:
            take_place(self._replaces)
            self._move_to(self._replaces)
            self._replaces = None
            self._open_sinks()

    def finish(self, runs: Sequence[RunState]) -> None:
        """Make the newest checkpoint, which is of the last step, the final one."""
        if self._replaces is not None:
            raise InputError(
                f"no run had a finite loss in its first steps, so {self._replaces} stays as it is; give a smaller --lr"
            )
        for state in runs:
            self.folders[state.run.name].finish(self._saved.name)
        remove_checkpoints(self._out, self.experiment.runs)

    def close(self) -> None:
        for file in (self._timing, *self._metrics.values()):
            file.close()
        for sink in self._sinks:
            sink.close()

    def _metadata(self, state: RunState) -> dict[str, str]:
        """What sae.safetensors says of itself: one entry, because the library writes several in any order."""
        facts = {
            "run": state.run.name, "variant": state.run.variant, "hooks": self.experiment.hooks,
            "store": self.experiment.store,
        }  # fmt: skip
        return {METADATA: json.dumps(facts)}
