"""The shell commands that made a store and the runs on it, from the settings that both recorded."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from analyze.runs.trained_run import TrainedRun
from data.store.reader import Store
from harvest.cli import main as harvest
from harvest.output.provenance import read_settings
from train.cli import main as train
from train.output.settings import read_experiment


def commands(store: Store, runs: Sequence[TrainedRun]) -> Iterator[str]:
    """Yield the command that harvested the store, and the one that trained each experiment of the runs.

    Paths are the present ones, except that of `harvest --activations`, whose folder is not recorded. Raises
    DamagedRunError.
    """
    settings = read_settings(store.provenance.get("settings", {}))
    if store.harvested or "activations" in settings:
        yield _line("harvest", harvest, {**settings, "out": store.path})
    for folder in dict.fromkeys(run.folder.path.parent for run in runs):
        recorded = read_experiment(folder)
        if recorded is not None:
            yield _line("train", train, {**recorded.command, "store": store.path, "out": folder})


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
            for variant, own in value.items():
                arguments += [option, f"{variant}=" * bool(variant) + ",".join(map(str, own))]
            continue
        arguments.append(option)
        if not (isinstance(parameter, click.Option) and parameter.is_flag):
            arguments.append(",".join(map(str, value)) if isinstance(value, tuple) else str(value))
    return shlex.join(arguments)
