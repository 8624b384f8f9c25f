"""A run's folder: what is saved of it, written aside and renamed, so that what has its name is whole.

    OUT/RUN/run.json                            configuration and provenance
    OUT/RUN/metrics.jsonl                       measures (records.py)
    OUT/RUN/checkpoints/STEP/                   sae.safetensors, state.safetensors, state.json: the last two
    OUT/RUN/snapshots/STEP/sae.safetensors      weights alone, over the course of training
    OUT/RUN/final/                              as a checkpoint, once training is done
    OUT/RUN/failed.json                         where and why a run stopped, if its loss was no number

sae.safetensors holds the parameters stacked over layers, [layers, …]; its metadata name the run, the variant, the
hooks and the store. Nothing is ever unpickled.

Not here: what the tensors are (state.py), loading a fitted SAE (load.py).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from data.chunks import write_json
from data.location import sync_directory

SAE_FILE, STATE_FILE, STATE_JSON = "sae.safetensors", "state.safetensors", "state.json"
METADATA = "sae"  # the entry in sae.safetensors, JSON: run, variant, hooks, store
KEPT = 2  # a kill may leave the runs of an experiment one checkpoint apart


@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds: the SAE's tensors [layers, …], the rest of the state, and its facts."""

    sae: dict[str, Tensor]
    state: dict[str, Tensor]
    facts: dict[str, Any]


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

    def checkpoint_steps(self) -> list[int]:
        """Steps of the checkpoints there are, ascending."""
        return self._steps("checkpoints")

    def snapshot_steps(self) -> list[int]:
        """Steps of the snapshots there are, ascending."""
        return self._steps("snapshots")

    def snapshot(self, step: int) -> Path:
        return self.path / "snapshots" / f"{step:09d}"

    def save_checkpoint(self, step: int, saved: Saved, metadata: Mapping[str, str]) -> None:
        _write_folder(self._checkpoint(step), saved, metadata)
        for old in self.checkpoint_steps()[:-KEPT]:
            shutil.rmtree(self._checkpoint(old))

    def save_snapshot(self, step: int, sae: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
        """Weights alone. A snapshot that exists already is left: a resumed run comes past the same ones."""
        target = self.snapshot(step)
        if not target.exists():
            _write_folder(target, Saved(dict(sae), {}, {"step": step}), metadata)

    def finish(self, step: int) -> None:
        """Make the checkpoint after the last step the final one, and remove those before."""
        if not self.final.exists():
            os.rename(self._checkpoint(step), self.final)
            sync_directory(self.path)
        shutil.rmtree(self.path / "checkpoints", ignore_errors=True)

    def load_checkpoint(self, step: int) -> Saved:
        return read_folder(self._checkpoint(step))

    def _steps(self, kind: str) -> list[int]:
        return sorted(int(path.name) for path in self.path.glob(f"{kind}/*") if path.name.isdecimal())

    def _checkpoint(self, step: int) -> Path:
        return self.path / "checkpoints" / f"{step:09d}"


def read_folder(path: Path) -> Saved:
    state = load_file(path / STATE_FILE) if (path / STATE_FILE).exists() else {}
    return Saved(load_file(path / SAE_FILE), state, json.loads((path / STATE_JSON).read_bytes()))


def _write_folder(target: Path, saved: Saved, metadata: Mapping[str, str]) -> None:
    aside = target.with_name(target.name + ".partial")
    for path in (aside, target):
        shutil.rmtree(path, ignore_errors=True)
    aside.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in saved.sae.items()}, aside / SAE_FILE, metadata=dict(metadata))
    if saved.state:
        save_file({k: v.contiguous() for k, v in saved.state.items()}, aside / STATE_FILE)
    for path in aside.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    write_json(aside / STATE_JSON, saved.facts)
    os.rename(aside, target)
    sync_directory(target.parent)
