"""The shell commands that made a store and the runs on it, from the settings that both recorded."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from analyze.runs.same_rows import harvest_settings, is_of
from analyze.runs.trained_run import TrainedRun
from data.store.reader import Store
from harvest.cli import main as harvest
from train.cli import main as train
from train.output.settings import read_experiment


def commands(store: Store, runs: Sequence[TrainedRun]) -> Iterator[str]:
    """Yield the commands that harvested the stores, and the one that trained each experiment of the runs.

    Paths are the present ones, except those of `harvest --activations`, whose folder is not recorded, and of other
    stores than `store`, which are as their trainings had them. Raises DamagedRunError.
    """
    experiments = {run.folder.path.parent: run for run in runs}
    recorded = {folder: record for folder in experiments if (record := read_experiment(folder)) is not None}
    paths = {
        folder: store.path if is_of(experiments[folder], store) else record.command["store"]
        for folder, record in recorded.items()
    }
    harvests = {str(store.path): store.provenance}
    harvests |= {
        str(path): experiments[folder].settings.provenance for folder, path in paths.items() if path != store.path
    }
    for path, provenance in harvests.items():
        settings = harvest_settings(provenance)
        if settings is not None:
            yield _line("harvest", harvest, {**settings, "out": path})
    for folder, record in recorded.items():
        yield _line("train", train, {**record.command, "store": paths[folder], "out": folder})


def _line(name: str, command: click.Command, values: Mapping[str, Any]) -> str:
    """Return a command line with the values, by parameter (`l1_power`), that are not defaults."""
    defaults = command.make_context(name, [], resilient_parsing=True).params
    arguments = [name]
    for parameter in command.params:
        option = parameter.opts[0]
        value = values.get(parameter.name or "")
        value = tuple(value) if isinstance(value, list) else value
        if value is None or value == defaults.get(parameter.name or ""):
            continue
        if isinstance(value, Mapping):  # by variant
            for variant, of_variant in value.items():
                arguments += [option, f"{variant}=" * bool(variant) + ",".join(map(str, of_variant))]
            continue
        arguments.append(option)
        if not (isinstance(parameter, click.Option) and parameter.is_flag):
            arguments.append(",".join(map(str, value)) if isinstance(value, tuple) else str(value))
    return shlex.join(arguments)
