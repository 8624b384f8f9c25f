"""An experiment from its files' lock to its end."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import torch

from data.errors import InputError, Stopped
from data.store.reader import Store
from data.system.allocator import keep_large_blocks
from data.system.lock import lock_path, locked
from data.system.replace import beside, check_replaceable, finish_replacing
from train.experiment import Experiment
from train.loop.memory_plan import MemoryPlan
from train.loop.trainer import Trainer
from train.output.checked import DamagedRunError
from train.output.existing import EXPERIMENT, check_existing, read_experiment
from train.output.experiment_folder import Outputs


def run(
    experiment: Experiment, plan: MemoryPlan, store: Store, out: Path, device: torch.device, *,
    command: Mapping[str, Any], logs: Sequence[str], checkpoint_seconds: float, overwrite: bool,
    eval_noise: bool, stop: threading.Event,
) -> None:  # fmt: skip
    """Train in `out`, or continue there, to the end. Raises InputError, or Stopped once `stop` is set.

    With `overwrite` an experiment in `out` is replaced after the first steps of the new one. One that was begun so, and
    is not finished, is continued.
    """
    with locked(lock_path(out), f"--out {out}"):
        finish_replacing(out)
        if check_existing(out, experiment, overwrite=overwrite):  # by another process, meanwhile
            return
        with _folder(out, experiment, overwrite=overwrite) as (folder, replaces):
            outputs = Outputs(
                folder, experiment, command=command, provenance=store.provenance, logs=logs,
                checkpoint_seconds=checkpoint_seconds, overwrites=overwrite, replaces=replaces,
            )  # fmt: skip
            with closing(outputs):
                trainer = Trainer(experiment, plan, store, outputs, device, eval_noise=eval_noise)
                if device.type == "cpu":
                    keep_large_blocks()
                if not trainer.train(stop):
                    raise Stopped


@contextmanager
def _folder(out: Path, experiment: Experiment, *, overwrite: bool) -> Iterator[tuple[Path, Path | None]]:
    """Where to write, and what that replaces. A mistake noticed before it does leaves nothing beside the old one."""
    if not overwrite or not (out / EXPERIMENT).exists() or _goes_on(out, experiment):
        yield out, None
        return
    check_replaceable(out)
    new = beside(out)
    shutil.rmtree(new, ignore_errors=True)  # of a killed command, which had hardly begun
    try:
        yield new, out
    except InputError:
        shutil.rmtree(new, ignore_errors=True)
        raise


def _goes_on(out: Path, experiment: Experiment) -> bool:
    """Whether `out` is this experiment, begun with --overwrite and not finished."""
    try:
        found = read_experiment(out)
    except DamagedRunError:
        return False
    same = found is not None and found.overwrites and found.settings == json.loads(json.dumps(experiment.to_json()))
    return same and not check_existing(out, experiment, overwrite=False)
