"""The results of an experiment's runs, read from its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from train.experiment import Run
from train.output.metrics_file import Record, read_records
from train.output.run_folder import RunFolder
from train.output.settings import Failure, read_failure


@dataclass(frozen=True)
class RunResult:
    """The result of one run.

    run: its settings: name, variant, l1, …
    folder: its folder, for `load_sae(result.folder, layer=…)`.
    heldout: its last measures on the held-out split: a record per hook with noise off, and one with noise on if its
        architecture has noise.
    failure: the step and hook at which it diverged; None if it did not.
    """

    run: Run
    folder: Path
    heldout: list[Record]
    failure: Failure | None

    def describe_failure(self) -> str | None:
        """Return a sentence that says how the run diverged and what to do; None if it did not."""
        if self.failure is None:
            return None
        checkpoints = RunFolder(self.folder).checkpoints
        kept = f"its checkpoint {checkpoints[-1]} is kept" if checkpoints else "it has no checkpoint"
        return (
            f"run {self.run.name} diverged ({self.failure.why}) at step {self.failure.step}, hook {self.failure.hook}; "
            f"{kept}; give a smaller --lr, or --clip"
        )


def run_results(out: Path, runs: Sequence[Run]) -> list[RunResult]:
    """Read the result of each run of the experiment in `out`. Raises DamagedRunError."""
    return [_read(RunFolder(out / run.name), run) for run in runs]


def distinct_runs(results: Sequence[RunResult]) -> list[Run]:
    """Return the run of each result; a run of one of several experiments has its experiment's folder in its name."""
    if len({result.folder.parent for result in results}) == 1:
        return [result.run for result in results]
    return [replace(result.run, name=f"{result.folder.parent.name}/{result.run.name}") for result in results]


def _read(folder: RunFolder, run: Run) -> RunResult:
    heldout = [record for record in read_records(folder) if record["split"] == "heldout"]
    last = [record for record in heldout if record["step"] == heldout[-1]["step"]]
    return RunResult(run, folder.path, last, read_failure(folder))
