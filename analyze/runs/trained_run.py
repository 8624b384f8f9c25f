"""Trained runs: the name, settings and SAEs of each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from data.errors import InputError
from data.system.new_folder import PARTIAL
from train.architectures import architecture_of
from train.output.load import load_sae
from train.output.run_folder import SAE_FILE, RunFolder, read_info
from train.output.settings import Failure, RunSettings, read_failure, read_run_settings
from train.sae import SAE
from train.sae.l0_controller import L0Correction


@dataclass(frozen=True)
class TrainedRun:
    """One training run, as far as it was trained.

    name: unique among the runs that are analysed together.
    settings: the content of run.json.
    weights: the final sae.safetensors, else that of the newest checkpoint; None if there is none.
    trained: rows (activations) that the weights were trained on.
    failure: the step and hook at which the run diverged; None if it did not.
    """

    name: str
    folder: RunFolder
    settings: RunSettings
    weights: Path | None = None
    trained: int = 0
    failure: Failure | None = None

    @property
    def hooks(self) -> list[str]:
        return list(self.settings.experiment.hooks)

    @property
    def variant(self) -> str:
        return self.settings.run.variant

    @property
    def l1(self) -> float:
        """The sparsity coefficient α."""
        return self.settings.run.l1

    @property
    def sparsity(self) -> tuple[float, float]:
        """Orders runs of one architecture by how sparse they are asked to be, ascending: by α, then by k."""
        return self.l1, -float(getattr(self.settings.run.settings, "k", 0))

    @property
    def target_l0(self) -> float:
        """The mean L0 that the run was to have: its `--target-l0`, else its k; 0: it has neither."""
        settings = self.settings.run.settings
        return settings.adjusted_to or float(getattr(settings, "k", 0))

    @property
    def noises(self) -> tuple[bool, ...]:
        """The noise settings to measure with: off; also on, if the run was trained with noise."""
        noisy = architecture_of(self.variant).uses_noise and self.settings.run.sigma
        return (False, True) if noisy else (False,)

    def l2_weight(self, d_model: int) -> float:
        """Return the weight of one entry's squared error in the run's L2: 1/d_model, or 1."""
        return self.settings.experiment.objective.l2_weight(d_model)

    @property
    def planned(self) -> int:
        """Rows (activations) of the whole training: the whole batches in --activations."""
        return self.settings.experiment.n_steps * self.settings.experiment.batch_size

    @property
    def finished(self) -> bool:
        return self.trained >= self.planned

    def sae(self, hook: str, device: torch.device | str = "cpu") -> SAE:
        """Load the SAE of a hook from `weights`. Raises InputError if there are none, or a training replaced them."""
        return load_sae(self._weights_file(), hook=hook, device=device)

    def _weights_file(self) -> Path:
        if self.weights is None:
            raise InputError(f"there is no trained SAE at {self.folder.path}; let it train to its first checkpoint")
        if not self.weights.is_file():
            raise InputError(
                f"{self.weights} was replaced by a newer checkpoint: {self.name} is still training; "
                "give the same command again, or wait for the end of the training"
            )
        return self.weights

    def corrections(self) -> dict[str, L0Correction]:
        """Return the last correction of the L0 at each hook that had one. Raises InputError, DamagedRunError."""
        return read_info(self._weights_file().parent).corrections

    def identity(self) -> list[Any]:
        """Return what its SAEs' measures depend on, in JSON's types: settings, and checksum and time of the weights."""
        file = self._weights_file()
        recorded = asdict(read_info(file.parent).files[SAE_FILE])
        return [self.settings.to_json(), self.trained, recorded, file.stat().st_mtime_ns]

    def snapshots(self) -> list[TrainedRun]:
        """Return the run at each of its snapshots, in the order of training."""
        size = self.settings.experiment.batch_size
        return [
            replace(self, weights=self.folder.snapshot(step) / SAE_FILE, trained=step * size)
            for step in self.folder.snapshot_steps()
        ]


def find_runs(paths: Iterable[Path]) -> list[TrainedRun]:
    """Find the runs in folders of runs, of experiments, or of several experiments.

    A run's name is that of its folder, preceded by parent folders until it is unique. Raises InputError if a folder
    has no run.
    """
    folders: dict[Path, RunFolder] = {}
    for path in paths:
        inside = (path, *sorted(path.glob("*"), key=_by_numbers), *sorted(path.glob("*/*"), key=_by_numbers))
        whole = (folder for folder in inside if not folder.name.endswith(PARTIAL))  # else an import was killed
        in_path = [folder for folder in map(RunFolder, whole) if folder.settings.is_file()]
        if not in_path:
            raise InputError(f"{path} has no run; give a folder that `train --out` wrote, or a run's in it")
        folders |= {folder.path.resolve(): folder for folder in in_path}
    names = short_names(list(folders))
    return [_read(names[path], folder) for path, folder in folders.items()]


def _by_numbers(path: Path) -> list[tuple[str, float]]:
    """Return a key that orders paths by the numbers in their names: target_l0=8 before target_l0=16."""
    pieces = re.findall(r"([^\d]*)(\d+(?:\.\d+)?)?", str(path))
    return [(text, float(number or 0)) for text, number in pieces]


def _read(name: str, folder: RunFolder) -> TrainedRun:
    failure, newest = read_failure(folder), folder.newest()
    run = TrainedRun(name, folder, read_run_settings(folder), failure=failure)
    if newest is None or failure is not None:
        return run
    trained = read_info(newest).step * run.settings.experiment.batch_size
    return replace(run, weights=newest / SAE_FILE, trained=trained)


def short_names(paths: Sequence[Path]) -> dict[Path, str]:
    """Return the shortest unique end of each path, in whole parts."""
    n = dict.fromkeys(paths, 1)
    while True:
        names = {path: "/".join(path.parts[-n[path] :]) for path in paths}
        count = Counter(names.values())
        longer = [path for path in paths if count[names[path]] > 1 and n[path] < len(path.parts)]
        if not longer:
            return names
        n |= {path: n[path] + 1 for path in longer}


def all_hooks(runs: Sequence[TrainedRun]) -> list[str]:
    """Return the hooks of all runs, each once."""
    return list(dict.fromkeys(hook for run in runs for hook in run.hooks))
