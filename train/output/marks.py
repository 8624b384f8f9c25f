"""Checkpoints of an experiment, each of all its runs: OUT/checkpoints/NAME.json, written after the runs' own files.

A checkpoint without this file does not count, so a kill leaves no run ahead of the others. A checkpoint is named by its
step, and where a stop came before the work that follows the step was done, by the first of that work:
000000120-validation comes before 000000120.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from data.system.location import sync_directory
from train.output.checked import read_checked, write_checked

TASKS = ("restart", "count", "validation", "snapshot")  # what may follow a step, in this order
KEPT = 2  # where the newest is damaged, the one before is left


@dataclass(frozen=True)
class Mark:
    """All runs as they are after `step` steps, of which the work in `owed` is still to be done."""

    step: int
    owed: tuple[str, ...]
    runs: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.step:09d}" + (f"-{self.owed[0]}" if self.owed else "")


def mark_order(name: str) -> tuple[int, int] | None:
    """Where a checkpoint of this name stands in the order of training; None where no checkpoint is called so."""
    step, dash, task = name.partition("-")
    if not (step.isascii() and step.isdecimal() and len(step) < 19) or (dash and task not in TASKS):
        return None
    return int(step), TASKS.index(task) if dash else len(TASKS)


@dataclass(frozen=True)
class Marks:
    """The folder of an experiment's marks."""

    folder: Path

    def names(self) -> list[str]:
        """In the order of training."""
        names = (path.stem for path in self.folder.glob("*.json") if mark_order(path.stem) is not None)
        return sorted(names, key=lambda name: mark_order(name) or (0, 0))

    def read(self, name: str) -> Mark:
        """Raises DamagedRunError."""
        return read_checked(Mark, self.folder / f"{name}.json")

    def write(self, mark: Mark) -> None:
        """Make a checkpoint count; durable on return."""
        write_checked(self.folder / f"{mark.name}.json", asdict(mark))
        sync_directory(self.folder.parent)

    def keep(self, names: set[str]) -> None:
        """Remove all marks but those named."""
        for path in self.folder.glob("*"):
            if path.stem not in names or path.suffix != ".json":
                path.unlink()
