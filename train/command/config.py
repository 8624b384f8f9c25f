"""Read options of `train` from a TOML file (`--config`), or from an experiment's record of them (`--resume`).

Each value passes the checks of its option, even if the command line overrides it.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from data.command.option_values import check_value
from data.errors import InputError
from train.command.options import TYPES
from train.command.per_variant import EVERY, PerVariant
from train.variants import IN_STEPS, SETTINGS

MOST_BYTES = 1 << 20
OF_ONE_CALL = ("config", "resume", "overwrite", "show")  # options that are refused in a file
FIXED_BY_PRESETS = ("variant", "l1", "lr", "sigma")


def load_defaults(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """Make a file's options the defaults of the command. Raises click.BadParameter if the file cannot be used."""
    if value is None:
        return None
    if ctx.default_map:
        raise click.UsageError("--config and --resume exclude each other; give one of them", ctx)
    if param.name == "resume":
        file = value / "experiment.json"
        settings = recorded_command(file)
    else:
        file = value
        settings = toml_options(file)
    ctx.default_map = checked(ctx, file, settings)
    return value


def content_of(file: Path) -> bytes:
    """Return a file's bytes. Raises click.BadParameter if it cannot be read or is too large for a file of options."""
    try:
        with open(file, "rb") as opened:
            content = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise click.BadParameter(f"{file} cannot be read ({error.strerror}); give a file that can") from error
    if len(content) > MOST_BYTES:
        raise click.BadParameter(f"{file} has more than {MOST_BYTES:,} bytes; give a file of options")
    return content


def toml_options(file: Path) -> dict[str, Any]:
    """Return the content of a TOML file. Raises click.BadParameter, naming the line, if it is not TOML."""
    try:
        return tomllib.loads(content_of(file).decode("utf-8-sig") + "\n")  # so an error at the end has a line
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(
            f"{file} is not TOML: {_reason(error)}; write one option per line, such as l1 = [1e-5, 2e-5]"
        ) from error


def recorded_command(file: Path) -> dict[str, Any]:
    """Return the options that an experiment.json records. Raises click.BadParameter if the file is damaged."""
    from train.output.checked import checked_body

    try:
        record = json.loads(checked_body(content_of(file)), object_pairs_hook=unique_keys)
        return options_in_rows(dict(record["command"]), record.get("settings"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise click.BadParameter(
            f"{file} is damaged: {_reason(error)}; put it back from a copy, or train again with --out and --overwrite"
        ) from error


def options_in_rows(command: dict[str, Any], settings: Any) -> dict[str, Any]:
    """Return recorded options, with those in rows that earlier versions recorded in steps."""
    for old, new in IN_STEPS.items():
        if old in command:
            by_variant = command.pop(old)
            command[new] = {variant: [n * settings["batch_size"] for n in own] for variant, own in by_variant.items()}
    return command


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it has no {error}"
    return str(error).replace("\n", " ") or type(error).__name__


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object. Raises ValueError if it has a key twice."""
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"the key {twice} is given twice")
    return dict(pairs)


def checked(ctx: click.Context, file: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a file by the options' names, as their types convert them. Raises click.BadParameter."""
    by_flag = {flag.lstrip("-"): param for param in ctx.command.params for flag in param.opts if flag.startswith("--")}
    types = TYPES | {str(p.name): p.type for p in ctx.command.params if isinstance(p.type, PerVariant)}
    values: dict[str, Any] = {}
    for key, setting in by_option(settings).items():
        option = by_flag.get(key.replace("_", "-"))
        if option is not None and option.name in OF_ONE_CALL:
            raise click.BadParameter(f"{file}: {key} is for the command line only; leave it out of the file")
        if option is None or option.name is None or not option.expose_value:
            similar = get_close_matches(key.replace("_", "-"), by_flag.keys() - {"help", "version"})
            hint = f"did you mean {' or '.join(similar)}?" if similar else "see train --help"
            raise click.BadParameter(f"{file}: `train` has no option {key}; {hint}")
        if option.name in values:
            raise click.BadParameter(f"{file}: {key} is given twice, with dashes and with underscores; give it once")
        try:
            value = check_value(types, option.name, setting)
            values[option.name] = [value] if isinstance(option.type, PerVariant) else value  # as from the command line
        except click.BadParameter as error:
            raise click.BadParameter(f"{file}: {key}: {error.message}") from error
    return values


def by_option(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file's settings with the table of a variant, such as [topk], as values of its options for it."""
    named = settings.get("variant")
    variants = SETTINGS.keys() | (set(map(str, named)) if isinstance(named, list) else {str(named)})
    options: dict[str, Any] = {name: value for name, value in settings.items() if name not in variants}
    for variant in settings.keys() & variants:
        if not isinstance(settings[variant], Mapping):
            raise click.BadParameter(f"{variant} is no option; write a table [{variant}] of its settings")
        for name, value in settings[variant].items():
            every = options.get(name)
            known = every if isinstance(every, Mapping) else {} if every is None else {EVERY: every}
            options[name] = {**known, variant: value}
    return options


def settle(ctx: click.Context, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options without those of a file that `--preset` or `--variant` on the command line overrides.

    Raises InputError if `--resume` comes with an option that contradicts it.
    """
    on_line = {name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    if "resume" in on_line:
        for name in ("out", "overwrite"):
            if name in on_line and ctx.params[name]:
                raise InputError(f"--resume and --{name} exclude each other; give one of them")
    overridden: tuple[str, ...] = ()
    if "preset" in on_line:
        overridden = FIXED_BY_PRESETS
    elif "variant" in on_line:
        overridden = ("preset",)
    return {name: None if name in overridden and name not in on_line else v for name, v in options.items()}
