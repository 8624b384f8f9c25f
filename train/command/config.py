"""Read options of `train` from a TOML file (`--config`), or from an experiment's record of them (`--resume`)."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from train.command.file_options import FileOptions
from train.variants import IN_STEPS

MOST_BYTES = 1 << 20


def load_defaults(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """Make a file's options the defaults of the command. Raises click.BadParameter if the file cannot be used."""
    if value is None:
        return None
    if ctx.default_map:
        raise click.UsageError("--config and --resume exclude each other; give one of them", ctx)
    file, settings = options_in(str(param.name), value)
    values = FileOptions.of(ctx, file, variants_in(settings)).convert(settings)
    # The type of an option by variant takes a list of parts, as the command line gives them.
    ctx.default_map = {name: [entry] if isinstance(entry, dict) else entry for name, entry in values.items()}
    return value


def options_in(option: str, path: Path) -> tuple[Path, dict[str, Any]]:
    """Return the file that `config` or `resume` names, and its content. Raises click.BadParameter."""
    if option == "config":
        return path, toml_options(path)
    return path / "experiment.json", recorded_command(path / "experiment.json")


def variants_in(settings: Mapping[str, Any]) -> list[str]:
    """Return the variants that a file's options name, as far as they are texts."""
    named = settings.get("variant", [])
    texts = [value for value in (named if isinstance(named, list) else [named]) if isinstance(value, str)]
    return [part.strip() for text in texts for part in text.split(",")]


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
    from train.output.files.checked import checked_body

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
            command[new] = {
                variant: [n * settings["batch_size"] for n in steps] for variant, steps in by_variant.items()
            }
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
