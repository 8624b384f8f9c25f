"""Run an experiment to its end, in its folder, under the folder's lock."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from data.command.progress import Bar
from data.errors import InputError, Stopped
from data.store.reader import Store
from data.system.allocator import keep_large_blocks
from data.system.lock import lock_path, locked
from data.system.replace import beside, check_replaceable, finish_replacing
from train.experiment import Experiment
from train.loop import tune_density
from train.loop.build import make_noise_source, make_stacks
from train.loop.memory_plan import MemoryPlan
from train.loop.trainer import Trainer
from train.output.checked import DamagedRunError
from train.output.existing import check_existing
from train.output.experiment_folder import ExperimentFolder
from train.output.metrics_file import Record
from train.output.run_state import run_states
from train.output.settings import EXPERIMENT, read_experiment
from train.tables import heldout_table, with_noise


def run(
    experiment: Experiment, plan: MemoryPlan, store: Store, out: Path, device: torch.device, *,
    command: Mapping[str, Any], logs: Sequence[str], checkpoint_seconds: float, overwrite: bool, eval_noise: bool,
    quiet: bool, stop: threading.Event,
) -> None:  # fmt: skip
    """Train in `out`, or continue there, to the end. Raises InputError, or Stopped once `stop` is set.

    With `overwrite`, an experiment in `out` is replaced after the first steps of the new one; an unfinished experiment
    that was begun with `overwrite` is continued instead. `quiet`: show no progress and no validation tables.
    """
    with locked(lock_path(out), f"--out {out}"):
        finish_replacing(out)
        if check_existing(out, experiment, overwrite=overwrite):  # another process finished it meanwhile
            return
        with _target(out, experiment, overwrite=overwrite) as (path, replaces):
            folder = ExperimentFolder(
                path, experiment, command=command, provenance=store.provenance, overwrites=overwrite
            )
            if device.type == "cuda":
                density = folder.measure_once("sparse_below", lambda: tune_density.measure_break_even(plan, device))
                plan = replace(plan, max_sparse_density=density)
            norms = [store.statistics(hook).mean_norm() for hook in experiment.hooks]
            stacks = make_stacks(plan, experiment, norms, device)
            runs, noise = run_states(experiment.runs, stacks), make_noise_source(plan, device)
            writer = folder.restore(runs, logs=logs, checkpoint_seconds=checkpoint_seconds, replaces=replaces)
            with closing(writer):
                if device.type == "cpu":
                    keep_large_blocks()
                trainer = Trainer(
                    experiment, store, stacks, runs, noise, writer, device, quiet=quiet,
                    on_validation=lambda records: _print_validation(experiment, records, noise=eval_noise),
                )  # fmt: skip
                if not trainer.train(stop):
                    raise Stopped


def _print_validation(experiment: Experiment, records: Mapping[str, Sequence[Record]], *, noise: bool) -> None:
    """Print a table of the runs' held-out measures if there are several runs; standard output is for the results."""
    if len(experiment.runs) > 1:
        Bar.write(heldout_table(with_noise(experiment.runs, records, noise=noise)), file=sys.stderr)


@contextmanager
def _target(out: Path, experiment: Experiment, *, overwrite: bool) -> Iterator[tuple[Path, Path | None]]:
    """Yield the folder to write to, and the one it replaces if any. An InputError meanwhile removes the new one."""
    if not overwrite or not (out / EXPERIMENT).exists() or _continues(out, experiment):
        yield out, None
        return
    check_replaceable(out)
    new = beside(out)
    shutil.rmtree(new, ignore_errors=True)  # a killed command left it after at most its first steps
    try:
        yield new, out
    except InputError:
        shutil.rmtree(new, ignore_errors=True)
        raise


def _continues(out: Path, experiment: Experiment) -> bool:
    """Return whether `out` holds this experiment, begun with --overwrite and not finished."""
    try:
        record = read_experiment(out)
    except DamagedRunError:
        return False
    same = record is not None and record.overwrites and record.settings == json.loads(json.dumps(experiment.to_json()))
    return same and not check_existing(out, experiment, overwrite=False)
