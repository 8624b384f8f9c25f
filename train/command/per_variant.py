"""Option values that may differ between the variants of an experiment: `--l1 nsae=4e-6,1e-5 --l1 baseline=1e-3`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import click

from data.command.option_types import ListOf, shown
from train.plugins import identity

EVERY = ""  # the key of values for all variants that have the option

Values = dict[str, tuple[Any, ...]]  # by variant


class PerVariant(click.ParamType[Values]):
    """ListOf values, for one variant (`VARIANT=…`) or for all; in a file or in Python also a mapping by variant."""

    takes_tables = True  # in a file or in Python
    takes_truth_values = False

    def __init__(self, values_type: ListOf[Any]) -> None:
        self.values_type, self.name = values_type, values_type.name
        self.option_arguments = {"multiple": True, "callback": lambda ctx, param, parts: merge(parts)}

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        """Return the values if they are a few names; None stands for the type's name."""
        return self.values_type.get_metavar(param, ctx)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Values:
        if isinstance(value, Mapping):
            if not value or not all(isinstance(key, str) for key in value):
                self.fail(f"{shown(value)} is not a table of values by variant", param, ctx)
            convert = self.values_type.convert
            return merge({identity(name.strip()): convert(values, param, ctx)} for name, values in value.items()) or {}
        if isinstance(value, str) and "=" in value:
            variant, _, values = value.rpartition("=")
            if not variant.strip():
                self.fail(f"{shown(value)} names no variant before the =; write VARIANT={values}", param, ctx)
            if "," in variant:
                self.fail(f"{shown(value)} has values of several variants; give the option once for each", param, ctx)
            return {identity(variant.strip()): self.values_type.convert(values, param, ctx)}
        return {EVERY: self.values_type.convert(value, param, ctx)}


def merge(parts: Iterable[Values]) -> Values | None:
    """Return the values of an option given several times, once per variant; None if it is not given.

    Raises click.BadParameter if it is given twice for one variant.
    """
    merged: Values = {}
    for part in parts:
        for variant, values in part.items():
            if variant in merged:
                where = f"for {variant} " if variant else ""
                raise click.BadParameter(f"is given {where}twice; give all values at once, with commas")
            merged[variant] = values
    return merged or None


def override(values: Values, by: Values) -> Values:
    """Return values in which those of another place stand before them, per variant; values for all replace all."""
    return by if EVERY in by else {**values, **by}


def applies(values: Values, key: str, variant: str) -> bool:
    """Return whether the values under a key are those for a variant."""
    return key == variant or (key == EVERY and variant not in values)


def values_for(option: Values | None, variant: str) -> tuple[Any, ...] | None:
    """Return the values of an option for one variant; None if it has none."""
    return None if option is None else option.get(variant, option.get(EVERY))
