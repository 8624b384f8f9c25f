"""The settings of the architectures as options of the command `train`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import click

from data.command.base import GroupedOption, StoppableCommand
from data.errors import InputError
from train.command.config import options_in, variants_in
from train.command.options import setting_type, settings_with
from train.command.settings import Setting
from train.plugins import load_plugins
from train.variants import SETTINGS, ArchitectureSettings

GROUP = "Settings of the architectures (several values, also as VARIANT=VALUES)"
OPTIONS = "train.settings"  # in a context's `meta`: the options of all settings, also those of other packages' variants


class PluginCommand(StoppableCommand):
    """A command whose options are also the settings of other packages' architectures, if its arguments name one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        on_line, in_file = variants_on_line(args), variants_in_file(args)
        try:
            plugins = load_plugins(on_line or in_file)
            if on_line:
                plugins += _loadable(in_file)  # whose settings the file may have
            ctx.meta[OPTIONS] = list(setting_options(plugins)) if plugins else []
        except InputError as error:
            raise click.UsageError(str(error), ctx) from error
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        more = {option.name: option for option in ctx.meta.get(OPTIONS, ())}
        params = super().get_params(ctx)
        declared = {param.name for param in params}
        return [
            *(more.get(param.name, param) for param in params),
            *(option for name, option in more.items() if name not in declared),
        ]


def variants_on_line(args: Sequence[str]) -> list[str]:
    """Return the variants that a command line names."""
    return [part.strip() for flag, value in _values(args) if flag == "--variant" for part in value.split(",")]


def variants_in_file(args: Sequence[str]) -> list[str]:
    """Return the variants that the file of a command line's --config or --resume names."""
    for flag, path in _values(args):
        if flag in ("--config", "--resume"):
            try:
                return variants_in(options_in(flag.lstrip("-"), Path(path))[1])
            except click.BadParameter:
                return []  # the option says what is wrong with it
    return []


def _loadable(variants: Sequence[str]) -> list[str]:
    """Return those of some variants that are other packages' and can be loaded, by identity."""
    loaded: list[str] = []
    for variant in variants:
        with suppress(InputError):
            loaded += load_plugins([variant])
    return loaded


def _values(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each argument, as an option, and its value or the argument that follows."""
    for i, argument in enumerate(args):
        flag, equals, value = argument.partition("=")
        yield flag, value if equals else args[i + 1] if i + 1 < len(args) else ""


def setting_options(plugins: Iterable[str] = ()) -> Iterator[GroupedOption]:
    """Yield an option for each setting, also those of some other packages' variants, with its defaults in the help."""
    of_all = [field.name for field in fields(ArchitectureSettings)]
    settings = settings_with(plugins)
    for name in sorted(settings, key=of_all.__contains__):  # those of all architectures come last
        setting = settings[name]
        kind, flag = setting_type(setting), f"--{name.replace('_', '-')}"
        text = f"{setting.help}  [{_owners(setting)}]"
        yield GroupedOption([flag], group=GROUP, type=kind, help=text, **kind.option_arguments)


def _owners(setting: Setting) -> str:
    """Return the variants that have a setting, with their defaults; the usual one without names if all have it."""
    by_default: dict[str, list[str]] = {}
    for variant, default in setting.defaults.items():
        if default is None:
            return f"for {', '.join(setting.defaults)}"  # its help says what follows from the other options
        text = f"{default:.4g}" if isinstance(default, float) else str(default).lower()
        by_default.setdefault(text, []).append(variant)
    everyone = len(setting.defaults) >= len(SETTINGS)
    usual = max(by_default, key=lambda text: len(by_default[text])) if everyone else None
    return "; ".join(
        f"default: {text}" if text == usual else f"default for {', '.join(variants)}: {text}"
        for text, variants in by_default.items()
    )
