"""Checkpoints of an experiment: OUT/checkpoints/NAME.json, a manifest written after the checkpoints of all its runs.

A checkpoint without a manifest does not count, so a kill leaves no run ahead of the others. NAME is the step, followed
by the first pending task if a stop came before the tasks of that step were done: 000000120-validation comes before
000000120.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from data.system.location import sync_directory
from train.output.files.checked import read_checked, write_checked

CHECKPOINTS = "checkpoints"  # the folder of the manifests
TASKS = (
    "restart",
    "count",
    "threshold",
    "validation",
    "snapshot",
)  # tasks that may follow a step, in the order they run
KEPT = 2  # checkpoints that are kept: if the newest is damaged, training continues from the one before


@dataclass(frozen=True)
class Manifest:
    """A checkpoint of all runs after `step` steps.

    step: steps trained.
    pending: the tasks of that step that are not done yet.
    runs: names of the runs in the checkpoint.
    """

    step: int
    pending: tuple[str, ...]
    runs: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of the checkpoint."""
        return f"{self.step:09d}" + (f"-{self.pending[0]}" if self.pending else "")


START = Manifest(0, (), ())  # of an experiment without a checkpoint


def training_order(name: str) -> tuple[int, int] | None:
    """Return a sort key that puts checkpoint names in the order of training; None if no checkpoint has such a name."""
    step, dash, task = name.partition("-")
    if not (step.isascii() and step.isdecimal() and len(step) < 19) or (dash and task not in TASKS):
        return None
    return int(step), TASKS.index(task) if dash else len(TASKS)


@dataclass(frozen=True)
class Manifests:
    """The folder of an experiment's manifests."""

    folder: Path

    def names(self) -> list[str]:
        """List the checkpoints that count, in the order of training."""
        names = (path.stem for path in self.folder.glob("*.json") if training_order(path.stem) is not None)
        return sorted(names, key=lambda name: training_order(name) or (0, 0))

    def read(self, name: str) -> Manifest:
        """Read the manifest of a checkpoint. Raises DamagedRunError."""
        return read_checked(Manifest, self.folder / f"{name}.json")

    def write(self, manifest: Manifest) -> None:
        """Write a manifest, which makes its checkpoint count; durable on return."""
        write_checked(self.folder / f"{manifest.name}.json", asdict(manifest))
        sync_directory(self.folder.parent)

    def keep(self, names: set[str]) -> None:
        """Remove all manifests except those named."""
        for path in self.folder.glob("*"):
            if path.stem not in names or path.suffix != ".json":
                path.unlink()
