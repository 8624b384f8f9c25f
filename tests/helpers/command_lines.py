"""Command lines of this project that stand in other files: whether their options and values are known."""

from __future__ import annotations

from collections.abc import Sequence

import click
from torch.distributed.run import get_args_parser

from analyze.cli import main as analyze
from harvest.cli import main as harvest
from train.cli import main as train
from train.presets import chosen_presets

COMMANDS: dict[str, click.Command] = {"harvest": harvest, "train": train, "analyze": analyze}


def parse(words: Sequence[str]) -> click.Context:
    """Parse a command line, also one that torchrun launches, without running it; return the command's context.

    Raises click.UsageError if an option or value is unknown, InputError if a preset is, and SystemExit if an option of
    torchrun is.
    """
    name, *arguments = words
    if name == "torchrun":
        launch = get_args_parser().parse_args(arguments)
        assert launch.module
        name, arguments = launch.training_script, launch.training_script_args
    command = COMMANDS[name]
    if isinstance(command, click.Group):
        sub_name, sub_command, arguments = command.resolve_command(click.Context(command), arguments)
        assert sub_name
        assert sub_command
        name, command = sub_name, sub_command
    context = command.make_context(name, arguments)
    chosen_presets(context.params.get("preset") or ())
    return context
