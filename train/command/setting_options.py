"""The settings of the architectures as options of the command `train`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Sequence

import click

from data.command.base import GroupedOption, StoppableCommand
from data.errors import InputError
from train.command.config import MOST_BYTES
from train.command.options import setting_type
from train.plugins import load_plugin
from train.variants import SETTINGS, Setting, all_settings

GROUP = "Settings of the architectures (as above: several values, also as VARIANT=VALUES)"


class PluginCommand(StoppableCommand):
    """A command that also has the settings of other packages' architectures, if its arguments name one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            plugins = [variant for variant in named_variants(args) if ":" in variant and load_plugin(variant)]
            own = {param.name for param in self.params}
            self.params += [option for option in setting_options(plugins) if option.name not in own]
        except InputError as error:
            raise click.UsageError(str(error), ctx) from error
        return super().parse_args(ctx, args)


def named_variants(args: Sequence[str]) -> list[str]:
    """Return the variants that a command line names, or the file of its --config."""
    named = [value for flag, value in _values(args) if flag == "--variant"]
    for flag, file in _values(args):
        if flag == "--config":
            try:
                with open(file, "rb") as opened:
                    variant = tomllib.loads(opened.read(MOST_BYTES).decode("utf-8-sig")).get("variant", "")
            except (OSError, ValueError):
                continue  # --config says what is wrong with it
            named += variant if isinstance(variant, list) else [variant]
    return [part.strip() for value in named for part in str(value).split(",")]


def _values(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    for i, argument in enumerate(args):
        flag, equals, value = argument.partition("=")
        yield flag, value if equals else args[i + 1] if i + 1 < len(args) else ""


def setting_options(plugins: Iterable[str] = ()) -> list[click.Parameter]:
    """Return an option for each setting, also those of some other packages' variants, with its defaults in the help."""
    options: list[click.Parameter] = []
    for name, setting in all_settings(plugins).items():
        kind, flag = setting_type(setting), f"--{name.replace('_', '-')}"
        text = f"{setting.help}  [{_owners(setting)}]"
        options.append(GroupedOption([flag], group=GROUP, type=kind, help=text, **kind.option_arguments))
    return options


def _owners(setting: Setting) -> str:
    """Return the variants that have a setting, with their defaults."""
    by_default: dict[str, list[str]] = {}
    for variant, default in setting.defaults.items():
        if default is None:
            return f"for {', '.join(setting.defaults)}"  # its help says what follows from the other options
        text = f"{default:.4g}" if isinstance(default, float) else str(default).lower()
        by_default.setdefault(text, []).append(variant)
    everyone = len(setting.defaults) == len(SETTINGS)
    return "; ".join(
        f"default: {text}" if everyone else f"default for {', '.join(variants)}: {text}"
        for text, variants in by_default.items()
    )
