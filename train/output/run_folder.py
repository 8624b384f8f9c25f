"""A run's folder. Each subfolder is written under another name and renamed, so a folder under its own name is whole.

    OUT/RUN/run.json                            settings and provenance
    OUT/RUN/metrics.jsonl                       measures (records.py)
    OUT/RUN/checkpoints/NAME/                   sae.safetensors, state.safetensors, state.json: the two newest
    OUT/RUN/snapshots/STEP/                     sae.safetensors, state.json: weights over the course of training
    OUT/RUN/final/                              as a checkpoint, once training is finished
    OUT/RUN/failed.json                         the step and hook at which the run diverged

sae.safetensors holds the parameters stacked over layers, [layers, …]; its metadata name the run, the variant, the
hooks and the store. state.json holds the checksums of the files beside it, of metrics.jsonl at that step, and of
itself. Nothing is ever unpickled.
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
from train.output.files.checked import DamagedRunError, Extent, check_extent, extent, read_checked, write_checked
from train.output.manifests import training_order
from train.sae.l0_controller import L0Correction

SAE_FILE, STATE_FILE, STATE_JSON = "sae.safetensors", "state.safetensors", "state.json"
WEIGHT_FILES = ("run.json", f"final/{STATE_JSON}", f"final/{SAE_FILE}")  # the files of a run that load_sae reads
METADATA = "sae"  # the entry of sae.safetensors' metadata, JSON: run, variant, hooks, store


@dataclass(frozen=True)
class CheckpointInfo:
    """state.json of a checkpoint or snapshot.

    step: steps that its weights were trained for.
    counted_rows: rows over which firing was counted, per counter: in the current window, in the last complete one.
    metrics: the length and checksum of metrics.jsonl after that step.
    files: the length and checksum of each file beside state.json.
    corrections: the last correction of the L0 of the SAE at each hook, after the last step.
    """

    step: int
    counted_rows: dict[str, tuple[int, int]] = field(default_factory=dict)
    metrics: Extent | None = None
    files: dict[str, Extent] = field(default_factory=dict)
    corrections: dict[str, L0Correction] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """A run's checkpoint in memory.

    sae: parameters and buffers [layers, …], by name.
    state: the optimizer's moments and the firing counts [layers, …], by name; empty for a snapshot.
    """

    sae: dict[str, Tensor]
    state: dict[str, Tensor]
    info: CheckpointInfo


@dataclass(frozen=True)
class RunFolder:
    """The paths in a run's folder, and the writing of its checkpoints."""

    path: Path

    @property
    def settings(self) -> Path:
        """The file of the run's settings."""
        return self.path / "run.json"

    @property
    def metrics(self) -> Path:
        """The file of the run's measures."""
        return self.path / "metrics.jsonl"

    @property
    def final(self) -> Path:
        """The folder of the state after the last step."""
        return self.path / "final"

    @property
    def failure(self) -> Path:
        """The file that says where the run diverged."""
        return self.path / "failed.json"

    @property
    def checkpoints(self) -> list[str]:
        """The names of its checkpoints, in the order of training."""
        names = (path.name for path in self.path.glob("checkpoints/*") if training_order(path.name) is not None)
        return sorted(names, key=lambda name: training_order(name) or (0, 0))

    def checkpoint(self, name: str) -> Path:
        return self.path / "checkpoints" / name

    def newest(self) -> Path | None:
        """Return the folder of the final weights, else of the newest checkpoint; None if the run has neither."""
        if self.final.is_dir():
            return self.final
        return self.checkpoint(self.checkpoints[-1]) if self.checkpoints else None

    def snapshot_steps(self) -> list[int]:
        """List the steps of its snapshots, ascending."""
        return sorted(int(path.name) for path in self.path.glob("snapshots/*") if path.name.isdecimal())

    def snapshot(self, step: int) -> Path:
        return self.path / "snapshots" / f"{step:09d}"

    def save_checkpoint(self, name: str, checkpoint: Checkpoint, metadata: Mapping[str, str]) -> None:
        """Save a checkpoint under a name; durable on return."""
        _write_folder(self.checkpoint(name), checkpoint, metadata)

    def save_snapshot(self, step: int, sae: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
        """Save the weights of a step without the optimizer's state."""
        _write_folder(self.snapshot(step), Checkpoint(dict(sae), {}, CheckpointInfo(step)), metadata)

    def keep(self, names: set[str]) -> None:
        """Remove all checkpoints except those named."""
        for path in list(self.path.glob("checkpoints/*")):
            if path.name not in names:
                remove_folder(path)

    def keep_snapshots(self, before: int) -> None:
        """Remove the snapshots of step `before` and of all later steps."""
        for path in list(self.path.glob("snapshots/*")):
            if not path.name.isdecimal() or int(path.name) >= before:
                remove_folder(path)

    def finish(self, name: str) -> None:
        """Rename a checkpoint to final/, unless a killed process has done so already."""
        if self.checkpoint(name).exists():
            shutil.rmtree(self.final, ignore_errors=True)
            os.rename(self.checkpoint(name), self.final)
            sync_directory(self.path)

    def checkpoint_or_final(self, name: str) -> Path:
        """Return the folder of a checkpoint, or final/ if `finish` has renamed it."""
        return self.checkpoint(name) if self.checkpoint(name).exists() else self.final


def read_info(folder: Path) -> CheckpointInfo:
    """Read the state.json of a checkpoint or snapshot. Raises DamagedRunError."""
    info = read_checked(CheckpointInfo, folder / STATE_JSON)
    if SAE_FILE not in info.files or not set(info.files) <= {SAE_FILE, STATE_FILE}:
        raise DamagedRunError(f"{folder / STATE_JSON} is damaged: it lists other files than a checkpoint has")
    return info


def check_folder(folder: Path) -> CheckpointInfo:
    """Compare the files of a checkpoint or snapshot with their checksums. Raises DamagedRunError."""
    info = read_info(folder)
    for name, expected in info.files.items():
        check_extent(folder / name, expected, whole=True)
    return info


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint and compare it with its checksums. Raises DamagedRunError."""
    info = check_folder(folder)
    state = _read(folder / STATE_FILE) if STATE_FILE in info.files else {}
    return Checkpoint(_read(folder / SAE_FILE), state, info)


def _read(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        raise DamagedRunError(f"{file} is damaged ({error})") from error


def remove_folder(folder: Path) -> None:
    """Remove a folder under a name that nothing reads, so a kill leaves no half of it that looks damaged."""
    aside = folder.with_name(folder.name + ".partial")
    shutil.rmtree(aside, ignore_errors=True)
    if folder.exists():
        os.rename(folder, aside)
    shutil.rmtree(aside, ignore_errors=True)


def _write_folder(target: Path, checkpoint: Checkpoint, metadata: Mapping[str, str]) -> None:
    aside = target.with_name(target.name + ".partial")
    remove_folder(target)
    aside.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in checkpoint.sae.items()}, aside / SAE_FILE, metadata=dict(metadata))
    if checkpoint.state:
        save_file({k: v.contiguous() for k, v in checkpoint.state.items()}, aside / STATE_FILE)
    files = {}
    for path in sorted(aside.iterdir()):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        files[path.name] = extent(path)
    write_checked(aside / STATE_JSON, asdict(replace(checkpoint.info, files=files)))
    os.rename(aside, target)
    for folder in (target.parent, target.parent.parent):
        sync_directory(folder)
