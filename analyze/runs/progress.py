"""The progress of runs, and the runs that cannot be measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from analyze.tables import TableRow, columns, how_far
from data.errors import InputError

if TYPE_CHECKING:
    from analyze.runs.configurations import Configuration
    from analyze.runs.trained_run import TrainedRun


@dataclass(frozen=True)
class LeftOut:
    """A run that cannot be measured, and why."""

    run: str
    why: str


class Usable(NamedTuple):
    """The runs that can be measured, and those that cannot."""

    runs: list[TrainedRun]
    left_out: list[LeftOut]


def usable(runs: Sequence[TrainedRun], *, weights: bool = True) -> Usable:
    """Leave out the runs that diverged, and those without weights if `weights` is true.

    Raises InputError if no run is left.
    """
    reasons = {run.name: _why_not(run, weights) for run in runs}
    left_out = [LeftOut(name, why) for name, why in reasons.items() if why]
    kept = [run for run in runs if not reasons[run.name]]
    if not kept:
        raise InputError(_none_left(runs, left_out))
    return Usable(kept, left_out)


def _why_not(run: TrainedRun, weights: bool) -> str:
    if run.failure is not None:
        return f"diverged at step {run.failure.step:,}: {run.failure.why} at {run.failure.hook}"
    return "has no trained SAE yet; let it train to its first checkpoint" if weights and run.weights is None else ""


def _none_left(runs: Sequence[TrainedRun], left_out: Sequence[LeftOut]) -> str:
    if all(run.failure is not None for run in runs):
        subject = f"{runs[0].folder.path} diverged" if len(runs) == 1 else f"all {len(runs)} runs diverged"
        return f"{subject} (the loss is not finite); train again with a smaller --lr, or with --clip"
    first = next(run for run in runs if run.failure is None)
    return f"{first.folder.path} {next(row.why for row in left_out if row.run == first.name)}"


def notes(left_out: Iterable[LeftOut]) -> list[str]:
    """Return a sentence per run that is left out."""
    return [f"run {row.run} is left out: it {row.why}" for row in left_out]


def unfinished_notes(runs: Iterable[TrainedRun]) -> list[str]:
    """Return a sentence per unfinished run."""
    return [f"run {run.name} was trained on {how_far(run.trained, run.planned)}" for run in runs if not run.finished]


@dataclass(frozen=True)
class Progress:
    """How far a run was trained. trained, planned: rows (activations); None if unknown."""

    trained: int | None
    planned: int | None
    finished: bool

    def __str__(self) -> str:
        return how_far(self.trained, self.planned)


@dataclass(frozen=True)
class RunProgress:
    """The progress of a run, as a row of JSON answers."""

    run: str
    progress: Progress


def progress(run: TrainedRun | Configuration) -> Progress:
    """Return the progress of a run, or of the least trained replica of a configuration."""
    if not run.settings.rows_known:
        return Progress(None, None, finished=True)
    return Progress(run.trained, run.planned, run.finished)


def progress_rows(runs: Sequence[TrainedRun]) -> list[RunProgress]:
    """Return the progress of each run, one row per run."""
    return [RunProgress(run.name, progress(run)) for run in runs]


def trained_on(runs: Sequence[TrainedRun | Configuration]) -> dict[str, str]:
    """Return how far each run or configuration was trained, as text by its name."""
    return {run.name: str(progress(run)) for run in runs}


def unfinished(runs: Iterable[TrainedRun]) -> str:
    """Name the unfinished runs and their progress in one text; empty if all are finished."""
    return "; ".join(f"{run.name} at {run.trained:,} of {run.planned:,} rows" for run in runs if not run.finished)


@dataclass(frozen=True)
class WithProgress:
    """A row, and the progress of its run or configuration, or of its two (`trained_first` …), as further columns."""

    row: TableRow
    progress: Mapping[str, Any]


def with_progress(rows: Sequence[TableRow], runs: Sequence[TrainedRun | Configuration]) -> list[WithProgress]:
    """Add to each row the progress of its run or configuration, `run`, or of its two, `first` and `second`."""
    known = {run.name: columns(progress(run)) for run in runs}
    return [WithProgress(row, _progress_of(columns(row), known)) for row in rows]


def _progress_of(row: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    if "run" in row:
        return known[row["run"]]
    return {f"{name}_{side}": value for side in ("first", "second") for name, value in known[row[side]].items()}
