"""A run's folder: what is saved of it, written aside and renamed, so that what has its name is whole.

    OUT/RUN/run.json                            configuration and provenance
    OUT/RUN/metrics.jsonl                       measures (records.py)
    OUT/RUN/checkpoints/NAME/                   sae.safetensors, state.safetensors, state.json: the last two
    OUT/RUN/snapshots/STEP/                     sae.safetensors, state.json: weights over the course of training
    OUT/RUN/final/                              as a checkpoint, once training is done
    OUT/RUN/failed.json                         where and why a run stopped, if its loss was no number

sae.safetensors holds the parameters stacked over layers, [layers, …]; its metadata name the run, the variant, the
hooks and the store. state.json holds the checksums of the files beside it, and of metrics.jsonl as it was then; it
holds its own too (checked.py). Nothing is ever unpickled.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from data.system.location import sync_directory
from train.output.checked import DamagedRunError, Extent, check_extent, extent, read_checked, write_checked
from train.output.marks import mark_order

SAE_FILE, STATE_FILE, STATE_JSON = "sae.safetensors", "state.safetensors", "state.json"
METADATA = "sae"  # the entry in sae.safetensors, JSON: run, variant, hooks, store


@dataclass(frozen=True)
class Facts:
    """A folder's state.json: the step of its weights, and the files that belong to it."""

    step: int
    counted_rows: dict[str, tuple[int, int]] = field(default_factory=dict)  # of the counts: current, last window
    metrics: Extent | None = None  # of metrics.jsonl after that step
    files: dict[str, Extent] = field(default_factory=dict)


@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds: the SAE's tensors [layers, …], the rest of the state, and its facts."""

    sae: dict[str, Tensor]
    state: dict[str, Tensor]
    facts: Facts


@dataclass(frozen=True)
class RunFolder:
    """One run's folder."""

    path: Path

    @property
    def settings(self) -> Path:
        return self.path / "run.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def final(self) -> Path:
        return self.path / "final"

    @property
    def failure(self) -> Path:
        return self.path / "failed.json"

    @property
    def checkpoints(self) -> list[str]:
        """Names of the checkpoints there are, in the order of training."""
        names = (path.name for path in self.path.glob("checkpoints/*") if mark_order(path.name) is not None)
        return sorted(names, key=lambda name: mark_order(name) or (0, 0))

    def checkpoint(self, name: str) -> Path:
        return self.path / "checkpoints" / name

    def newest(self) -> Path | None:
        """The final weights' folder, or else the newest checkpoint's; None where there is neither."""
        if self.final.is_dir():
            return self.final
        return self.checkpoint(self.checkpoints[-1]) if self.checkpoints else None

    def snapshot_steps(self) -> list[int]:
        """Steps of the snapshots there are, ascending."""
        return sorted(int(path.name) for path in self.path.glob("snapshots/*") if path.name.isdecimal())

    def snapshot(self, step: int) -> Path:
        return self.path / "snapshots" / f"{step:09d}"

    def save_checkpoint(self, name: str, saved: Saved, metadata: Mapping[str, str]) -> None:
        _write_folder(self.checkpoint(name), saved, metadata)

    def save_snapshot(self, step: int, sae: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
        """Save weights alone."""
        _write_folder(self.snapshot(step), Saved(dict(sae), {}, Facts(step)), metadata)

    def keep(self, names: set[str]) -> None:
        """Remove all checkpoints but those named."""
        for path in list(self.path.glob("checkpoints/*")):
            if path.name not in names:
                remove_folder(path)

    def keep_snapshots(self, before: int) -> None:
        """Remove the snapshots of a step and all later ones."""
        for path in list(self.path.glob("snapshots/*")):
            if not path.name.isdecimal() or int(path.name) >= before:
                remove_folder(path)

    def finish(self, name: str) -> None:
        """Make a checkpoint the final one, unless a killed process has done it."""
        if self.checkpoint(name).exists():
            shutil.rmtree(self.final, ignore_errors=True)
            os.rename(self.checkpoint(name), self.final)
            sync_directory(self.path)

    def state(self, name: str) -> Path:
        """The folder of a checkpoint, which may have become the final one already."""
        return self.checkpoint(name) if self.checkpoint(name).exists() else self.final


def read_facts(folder: Path) -> Facts:
    """What a checkpoint's or snapshot's folder holds. Raises DamagedRunError."""
    facts = read_checked(Facts, folder / STATE_JSON)
    if SAE_FILE not in facts.files or not set(facts.files) <= {SAE_FILE, STATE_FILE}:
        raise DamagedRunError(f"{folder / STATE_JSON} is damaged: it lists other files than a checkpoint has")
    return facts


def check_folder(folder: Path) -> Facts:
    """Compare the files of a checkpoint's or snapshot's folder with their checksums. Raises DamagedRunError."""
    facts = read_facts(folder)
    for name, expected in facts.files.items():
        check_extent(folder / name, expected, whole=True)
    return facts


def read_folder(folder: Path) -> Saved:
    """What a checkpoint holds, compared with its checksums. Raises DamagedRunError."""
    facts = check_folder(folder)
    return Saved(_read(folder / SAE_FILE), _read(folder / STATE_FILE) if STATE_FILE in facts.files else {}, facts)


def _read(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        raise DamagedRunError(f"{file} is damaged ({error})") from error


def remove_folder(folder: Path) -> None:
    """Remove a folder under a name that nothing reads: a kill leaves no half of it that looks damaged."""
    aside = folder.with_name(folder.name + ".partial")
    shutil.rmtree(aside, ignore_errors=True)
    if folder.exists():
        os.rename(folder, aside)
    shutil.rmtree(aside, ignore_errors=True)


def _write_folder(target: Path, saved: Saved, metadata: Mapping[str, str]) -> None:
    aside = target.with_name(target.name + ".partial")
    remove_folder(target)
    aside.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in saved.sae.items()}, aside / SAE_FILE, metadata=dict(metadata))
    if saved.state:
        save_file({k: v.contiguous() for k, v in saved.state.items()}, aside / STATE_FILE)
    files = {}
    for path in sorted(aside.iterdir()):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        files[path.name] = extent(path)
    write_checked(aside / STATE_JSON, asdict(replace(saved.facts, files=files)))
    os.rename(aside, target)
    for folder in (target.parent, target.parent.parent):
        sync_directory(folder)
