"""Options of `train` from a file: a TOML file (`--config`), or an experiment's recorded command (`--resume`).

Each value passes the checks of its option on the command line, also where the command line overrides it.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from data.command.option_types import LayerChoice, Several, shown

MOST_BYTES = 1 << 20
OF_ONE_CALL = ("config", "resume", "overwrite", "show")  # given on the command line only


def load_defaults(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """Take from a file what the command line leaves open. Raises click.BadParameter where it cannot be used."""
    if value is None:
        return None
    if ctx.default_map:
        raise click.UsageError("--config and --resume exclude each other; give one of them", ctx)
    if param.name == "resume":
        file = value / "experiment.json"
        settings = parsed(file, read_command)
    else:
        file = value
        settings = parsed(file, lambda data: tomllib.loads(data.decode("utf-8-sig")))
    ctx.default_map = checked(ctx, file, settings)
    return value


def parsed(file: Path, parse: Any) -> dict[str, Any]:
    """A file's content as `parse` reads its bytes."""
    try:
        with open(file, "rb") as opened:
            data = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise click.BadParameter(f"{file} cannot be read ({error.strerror}); give a file that can") from error
    if len(data) > MOST_BYTES:
        raise click.BadParameter(f"{file} has more than {MOST_BYTES:,} bytes; give a file of options")
    try:
        return dict(parse(data))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = str(error).replace("\n", " ") or type(error).__name__
        raise click.BadParameter(f"{file} is not what `train` can read ({reason}); correct the file") from error


def read_command(data: bytes) -> dict[str, Any]:
    """The command that an experiment.json records. Raises ValueError where the file is damaged."""
    from train.output.checked import checked_body

    return dict(json.loads(checked_body(data), object_pairs_hook=once)["command"])


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object's members. Raises ValueError where a key is given twice."""
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"the key {twice} is given twice")
    return dict(pairs)


def checked(ctx: click.Context, file: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings by parameter name, converted as their options are. Raises click.BadParameter."""
    by_option = {flag.lstrip("-"): p for p in ctx.command.params for flag in p.opts if flag.startswith("--")}
    values: dict[str, Any] = {}
    for key, setting in settings.items():
        option = by_option.get(key.replace("_", "-"))
        if option is not None and option.name in OF_ONE_CALL:
            raise click.BadParameter(f"{file}: {key} is for the command line only; leave it out of the file")
        if option is None or option.name is None or not option.expose_value:
            raise click.BadParameter(f"{file}: `train` has no option {key}; see train --help")
        if option.name in values:
            raise click.BadParameter(f"{file}: {key} is given twice, with dashes and with underscores; give it once")
        try:
            values[option.name] = converted(ctx, option, setting)
        except click.BadParameter as error:
            raise click.BadParameter(f"{file}: {key}: {error.message}") from error
    return values


def converted(ctx: click.Context, option: click.Parameter, setting: Any) -> Any:
    """A setting in its option's type. Raises click.BadParameter where it has another."""
    kind = option.type
    if isinstance(option, click.Option) and option.is_flag:
        if not isinstance(setting, bool):
            raise click.BadParameter(f"{shown(setting)} is neither true nor false")
    elif isinstance(setting, list) and not isinstance(kind, (Several, LayerChoice)):
        raise click.BadParameter(f"{shown(setting)} is a list; give one value")
    elif not isinstance(setting, (str, int, float, list)) or isinstance(setting, bool):
        raise click.BadParameter(f"{shown(setting)} is no value of this option; give a text, a number or a list")
    elif isinstance(kind, click.Choice) and not isinstance(setting, str):
        raise click.BadParameter(f"{shown(setting)} is not a text; give one of {', '.join(kind.choices)}")
    return option.type_cast_value(ctx, setting)
