"""Convert what a file of options holds to values of the command's options. Values by variant may stand in tables:

    [topk]          [k]
    k = 20          topk = 20

Each value passes the checks of its option, even if the command line overrides it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import click

from data.command.option_types import suggestion
from data.command.option_values import check_value
from train.command.options import TYPES, has_meaning, options_of_variant
from train.command.per_variant import EVERY, PerVariant
from train.plugins import identity, is_loaded
from train.variants import known_variants

OF_ONE_CALL = ("config", "resume", "overwrite", "show")  # options that are refused in a file


@dataclass(frozen=True)
class FileOptions:
    """Converts the content of one file.

    file: its name, for messages. by_flag: the command's options by their names with dashes. named: the variants that
    the file names in `variant`.
    """

    file: Path
    by_flag: Mapping[str, click.Parameter]
    named: frozenset[str]

    @classmethod
    def of(cls, ctx: click.Context, file: Path, named: Iterable[str]) -> FileOptions:
        params = ctx.command.get_params(ctx)
        by_flag = {flag.lstrip("-"): param for param in params for flag in param.opts if flag.startswith("--")}
        return cls(file, by_flag, frozenset(map(identity, named)))

    def convert(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values by the options' names, as their types convert them. Raises click.BadParameter."""
        values: dict[str, Any] = {}
        for place, option, value in self._entries(settings):
            name = str(option.name)
            if not isinstance(option.type, PerVariant):
                if name in values:
                    self._fail(f"{place} is given twice, with dashes and with underscores; give it once")
                values[name] = value
                continue
            known = values.setdefault(name, {})
            for variant, of_variant in value.items():
                if variant in known:
                    where = f"for {variant} twice" if variant else "twice, with dashes and with underscores"
                    self._fail(f"{place} is given {where}; give it once")
                known[variant] = of_variant
        return values

    def _entries(self, settings: Mapping[str, Any]) -> Iterator[tuple[str, click.Parameter, Any]]:
        """Yield each option that the file gives, its key and its value, which is Values if the option is PerVariant."""
        for key, setting in settings.items():
            if key in known_variants() or (isinstance(setting, Mapping) and ":" in key):
                yield from self._table(identity(key), setting)
            else:
                option = self._option(key)
                yield key, option, self._checked(key, option, setting)

    def _table(self, variant: str, table: Any) -> Iterator[tuple[str, click.Parameter, Any]]:
        """Yield the options in the table of a variant; none if the command line leaves out this class."""
        if not isinstance(table, Mapping):
            self._fail(f"{variant} is not an option; write a table [{variant}] of its settings")
        if self.named and variant not in self.named:
            self._fail(f"[{variant}]: no run has this variant; name it in variant, or leave the table out")
        if ":" in variant and not is_loaded(variant):
            return
        for key, setting in table.items():
            place = f"[{variant}] {key}"
            option = self.by_flag.get(_flag(key))
            if option is not None and not isinstance(option.type, PerVariant):
                self._fail(f"{place}: is the same for all runs; write it above the tables")
            value = None if option is None else self._checked(place, option, setting)
            values = value.get(EVERY, ()) if isinstance(value, dict) else ()
            if option is None or not has_meaning(str(option.name), variant, values):
                takes = [_flag(name) for name in options_of_variant(variant) if has_meaning(name, variant, ())]
                similar = suggestion(_flag(key), takes, "")
                hint = f"{similar} it takes {', '.join(takes)}".strip()
                self._fail(f"{place}: {variant} has no such setting; {hint}")
            if not values:
                self._fail(f"{place}: names a variant in the table of one; give the values alone")
            yield place, option, {variant: values}

    def _option(self, key: str) -> click.Parameter:
        """Return the option that a key names."""
        option = self.by_flag.get(_flag(key))
        if option is not None and option.name in OF_ONE_CALL:
            self._fail(f"{key} is for the command line only; leave it out of the file")
        if option is None or option.name is None or not option.expose_value:
            words = [*(self.by_flag.keys() - {"help", "version"}), *known_variants()]
            self._fail(f"`train` has no option {key}; {suggestion(_flag(key), words, 'see train --help')}")
        return option

    def _checked(self, place: str, option: click.Parameter, setting: Any) -> Any:
        """Return the value of an option as its type converts it."""
        name = str(option.name)
        types = {**TYPES, name: option.type} if isinstance(option.type, PerVariant) else TYPES
        try:
            return check_value(types, name, setting)
        except click.BadParameter as error:
            raise click.BadParameter(f"{self.file}: {place}: {error.message}") from error

    def _fail(self, sentence: str) -> NoReturn:
        raise click.BadParameter(f"{self.file}: {sentence}")


def _flag(key: str) -> str:
    return key.replace("_", "-")
