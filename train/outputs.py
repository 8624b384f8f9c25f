"""What an experiment writes: OUT/experiment.json, a folder a run, and timing.jsonl, and how it continues from them.

Not here: the files of one run (checkpoint.py), what a record is (records.py).
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data.chunks import write_json
from data.errors import InputError
from train.checkpoint import METADATA, RunFolder, read_folder
from train.records import JsonLines, Record, open_sinks
from train.runs import Experiment, Run, differences
from train.state import RunState

EXPERIMENT = "experiment.json"


def read_experiment(out: Path) -> dict[str, Any] | None:
    """What OUT/experiment.json says: `settings` and `command`; None where there is none."""
    try:
        return dict(json.loads((out / EXPERIMENT).read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        return None


def check_existing(out: Path, experiment: Experiment, *, overwrite: bool) -> bool:
    """Whether the experiment in `out` is this one and finished.

    Raises InputError, naming what differs, where it is another one and `overwrite` is not set.
    """
    found = read_experiment(out)
    if found is None:
        begun = {EXPERIMENT + ".partial"}  # all that a kill may leave of the first file
        if out.exists() and (not out.is_dir() or {path.name for path in out.iterdir()} - begun):
            raise InputError(f"--out {out}: exists and holds no experiment of `train`; choose another --out")
        return False
    if overwrite:
        return False
    now = json.loads(json.dumps(experiment.to_json()))
    if found["settings"] != now:
        raise InputError(
            f"--out {out}: holds an experiment with other settings: {'; '.join(differences(found['settings'], now))}; "
            "give the same settings to continue it, --overwrite to replace it, or another --out"
        )
    folders = [RunFolder(out / run.name) for run in experiment.runs]
    return all(folder.final.exists() or folder.failure.exists() for folder in folders)


def remove(out: Path) -> None:
    """Delete an experiment; what says that there is one goes last, so that a kill leaves no half of it unnoticed."""
    if out.exists():
        for path in out.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
        shutil.rmtree(out)


def final_records(out: Path, runs: Sequence[Run]) -> dict[str, list[Record]]:
    """Each run's last records of the held-out split."""
    found: dict[str, list[Record]] = {}
    for run in runs:
        folder = RunFolder(out / run.name)
        lines = folder.metrics.read_text(encoding="utf-8").splitlines() if folder.metrics.exists() else []
        records = [record for record in map(json.loads, lines) if record["split"] == "heldout"]
        found[run.name] = [record for record in records if record["step"] == records[-1]["step"]]
    return found


def failures(out: Path, runs: Sequence[Run]) -> list[str]:
    """A sentence for each run that was given up."""
    found = []
    for run in runs:
        folder = RunFolder(out / run.name)
        if folder.failure.exists():
            why = json.loads(folder.failure.read_bytes())
            kept = folder.checkpoint_steps()
            left = f"its checkpoint of step {kept[-1]} is kept" if kept else "it has no checkpoint"
            found.append(
                f"run {run.name} was given up at step {why['step']}, because {why['why']} at {why['hook']}; {left}; "
                "give a smaller --lr, or --clip"
            )
    return found


class Outputs:
    """The experiment's folder, open for writing."""

    def __init__(
        self, out: Path, experiment: Experiment, *, command: Mapping[str, Any], provenance: Mapping[str, Any],
        logs: Sequence[str], checkpoint_seconds: float,
    ) -> None:  # fmt: skip
        self.experiment = experiment
        self.folders = {run.name: RunFolder(out / run.name) for run in experiment.runs}
        self.failed = {name for name, folder in self.folders.items() if folder.failure.exists()}
        self._checkpoint_seconds = checkpoint_seconds
        settings = experiment.to_json()
        if not (out / EXPERIMENT).exists():
            write_json(out / EXPERIMENT, {"settings": settings, "command": dict(command)})
        shared = {name: value for name, value in settings.items() if name != "runs"}
        for run in experiment.runs:
            own = {**shared, "run": asdict(run), "provenance": dict(provenance)}
            write_json(self.folders[run.name].settings, own)
        self._out = out
        self._sinks = open_sinks(logs, out, settings)
        self._timing = JsonLines(out / "timing.jsonl")
        self._metrics: dict[str, JsonLines] = {}
        self._saved: tuple[int, list[str]] = (0, [])  # the step of the newest checkpoint, and what it owes
        self._since, self._saved_at = time.perf_counter(), time.monotonic()
        self._rows, self._waited = 0, 0.0

    def once(self, name: str, measure: Callable[[], float]) -> float:
        """A figure measured as the experiment begins, and kept: where it continues it is the same."""
        facts = read_experiment(self._out) or {}
        kept = facts.setdefault("measured", {})
        if name not in kept:
            kept[name] = measure()
            write_json(self._out / EXPERIMENT, facts)
        return float(kept[name])

    def restore(self, runs: Sequence[RunState]) -> tuple[int, list[str]]:
        """Put the runs back to the last step that all of them have saved.

        Returns it, 0 if there is none, and what is owed after it.
        """
        going = [state for state in runs if state.run.name not in self.failed]
        saved = {state.run.name: self._saved_steps(state.run.name) for state in going}
        common = set.intersection(*map(set, saved.values())) if saved else set()
        step, owed = max(common, default=0), []
        for state in going:
            folder = self.folders[state.run.name]
            size = 0
            if step:
                found = read_folder(folder.final) if folder.final.exists() else folder.load_checkpoint(step)
                state.restore(found)
                size, owed = found.facts["metrics_bytes"], found.facts["owed"]
            else:
                shutil.rmtree(folder.path / "snapshots", ignore_errors=True)
            self._metrics[state.run.name] = JsonLines(folder.metrics, size=size)
        self._saved = step, owed
        return step, owed

    def record(self, records: Sequence[tuple[str, Record]]) -> None:
        """Write records, each under its run's name; those of failed runs are left out."""
        for name in self._metrics:
            own = [record for run, record in records if run == name and name not in self.failed]
            if own:
                self._metrics[name].write(own)
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
        write_json(self.folders[run].failure, {"step": step, "hook": hook, "why": "the loss is not finite"})

    def snapshot(self, step: int, runs: Sequence[RunState]) -> None:
        for state in runs:
            self.folders[state.run.name].save_snapshot(step, state.sae_tensors(), self._metadata(state))

    def checkpoint_is_due(self) -> bool:
        return time.monotonic() - self._saved_at > self._checkpoint_seconds

    def checkpoint(self, step: int, owed: list[str], runs: Sequence[RunState]) -> None:
        """Save all runs as they are after `step` steps and what came after them, but for what is owed."""
        if (step, owed) == self._saved:
            return
        for state in runs:
            folder = self.folders[state.run.name]
            if folder.final.exists():
                continue
            saved = state.save(step, owed=owed, metrics_bytes=self._metrics[state.run.name].sync())
            folder.save_checkpoint(step, saved, self._metadata(state))
        self._saved = step, owed
        self._saved_at = time.monotonic()

    def finish(self, step: int, runs: Sequence[RunState]) -> None:
        """Make the checkpoints after the last step the final ones; all runs have one by now."""
        for state in runs:
            self.folders[state.run.name].finish(step)

    def close(self) -> None:
        for file in (self._timing, *self._metrics.values()):
            file.close()
        for sink in self._sinks:
            sink.close()

    def _saved_steps(self, run: str) -> list[int]:
        folder = self.folders[run]
        return [*folder.checkpoint_steps(), *([self.experiment.n_steps] if folder.final.exists() else [])]

    def _metadata(self, state: RunState) -> dict[str, str]:
        """What sae.safetensors says of itself: one entry, because the library writes several in any order."""
        facts = {
            "run": state.run.name, "variant": state.run.variant, "hooks": self.experiment.hooks,
            "store": self.experiment.store,
        }  # fmt: skip
        return {METADATA: json.dumps(facts)}
