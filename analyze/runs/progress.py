"""The progress of runs, and the runs that cannot be measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from analyze.tables import Row, how_far
from data.errors import InputError

if TYPE_CHECKING:
    from analyze.runs.configurations import Configuration
    from analyze.runs.trained_run import TrainedRun


class Usable(NamedTuple):
    """The runs that can be measured, and a line with `run` and `why` per run that cannot."""

    runs: list[TrainedRun]
    left_out: list[Row]


def usable(runs: Sequence[TrainedRun], *, weights: bool = True) -> Usable:
    """Leave out the runs that diverged, and those without weights if `weights` is true.

    Raises InputError if no run is left.
    """
    reasons = {run.name: _why_not(run, weights) for run in runs}
    left_out = [{"run": name, "why": why} for name, why in reasons.items() if why]
    kept = [run for run in runs if not reasons[run.name]]
    if not kept:
        raise InputError(_none_left(runs, left_out))
    return Usable(kept, left_out)


def _why_not(run: TrainedRun, weights: bool) -> str:
    if run.failure is not None:
        return f"diverged at step {run.failure.step:,}: {run.failure.why} at {run.failure.hook}"
    return "has no trained SAE yet; let it train to its first checkpoint" if weights and run.weights is None else ""


def _none_left(runs: Sequence[TrainedRun], left_out: Sequence[Row]) -> str:
    if all(run.failure is not None for run in runs):
        subject = f"{runs[0].folder.path} diverged" if len(runs) == 1 else f"all {len(runs)} runs diverged"
        return f"{subject} (the loss is not finite); train again with a smaller --lr, or with --clip"
    first = next(run for run in runs if run.failure is None)
    return f"{first.folder.path} {next(line['why'] for line in left_out if line['run'] == first.name)}"


def notes(left_out: Iterable[Row]) -> list[str]:
    """Return a sentence per run that is left out."""
    return [f"run {line['run']} is left out: it {line['why']}" for line in left_out]


def unfinished_notes(runs: Iterable[TrainedRun]) -> list[str]:
    """Return a sentence per unfinished run."""
    return [f"run {run.name} was trained on {how_far(run.trained, run.planned)}" for run in runs if not run.finished]


def progress(run: TrainedRun | Configuration) -> Row:
    """Return the rows (activations) `trained` and `planned`, None if unknown, and whether training is `finished`."""
    if not run.settings.training_known:
        return {"trained": None, "planned": None, "finished": True}
    return {"trained": run.trained, "planned": run.planned, "finished": run.finished}


def progress_lines(runs: Sequence[TrainedRun]) -> list[Row]:
    """Return the progress of each run, one line per run."""
    return [{"run": run.name, **progress(run)} for run in runs]


def unfinished(runs: Iterable[TrainedRun]) -> str:
    """Name the unfinished runs and their progress in one text; empty if all are finished."""
    return "; ".join(f"{run.name} at {run.trained:,} of {run.planned:,} rows" for run in runs if not run.finished)


def with_progress(lines: Sequence[Row], runs: Sequence[TrainedRun | Configuration]) -> list[Row]:
    """Add to each line the progress of its run or configuration, or of its two (`trained_first` …)."""
    known = {run.name: progress(run) for run in runs}
    return [
        {**line, **known[line["run"]]} if "run" in line
        else {**line, **{f"{key}_{side}": value for side in ("first", "second")
                         for key, value in known[line[side]].items()}}
        for line in lines
    ]  # fmt: skip
