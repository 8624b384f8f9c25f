"""Check values that a Python call or a file gives to options, by the options' types.

A shell gives texts only. Python and files can give more, so what is not a value of any option is refused first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any

import click
from upath import UPath

from data.command.layer_choice import LayerChoice
from data.command.option_types import ListOf, StoreLocation, shown
from data.errors import InputError

Types = Mapping[str, click.ParamType[Any]]  # by the options' names in snake_case; an option without a value has none


def check_value(types: Types, name: str, value: Any) -> Any:
    """Return a value, not None, as the type of its option converts it.

    Raises click.BadParameter if it cannot be a value of the option.
    """
    kind = types.get(name)
    if kind is None:
        if not isinstance(value, bool):
            raise click.BadParameter(f"{shown(value)} is neither true nor false; write one of the two")
        return value
    if isinstance(kind, StoreLocation) and isinstance(value, UPath):
        return value  # with the settings of its driver, which its address does not have
    if isinstance(value, Mapping) and getattr(kind, "takes_tables", False):
        return kind.convert(value, None, None)
    takes_lists = isinstance(kind, (ListOf, LayerChoice)) or getattr(kind, "takes_tables", False)
    if isinstance(value, list) and not takes_lists:
        raise click.BadParameter(f"{shown(value)} is a list; give one value")
    if isinstance(kind, click.Choice) and not isinstance(value, str):
        raise click.BadParameter(f"{shown(value)} is not a text; give one of {', '.join(kind.choices)}")
    is_truth = isinstance(value, bool) and not getattr(kind, "takes_truth_values", False)
    if not isinstance(value, (str, int, float, list)) or is_truth:
        accepted = "a text, a number or a list" if takes_lists else "a text or a number"
        raise click.BadParameter(f"{shown(value)} is not a value of this option; give {accepted}")
    return kind.convert(value, None, None)


def check_values(function: Callable[..., Any], types: Types, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call of `function` as the types of their options convert them.

    A path may stand for a text, any sequence for a list, and None for itself where it is the default. Raises
    InputError, naming the option, for a value that its type refuses.
    """
    defaults = {name: parameter.default for name, parameter in signature(function).parameters.items()}
    checked: dict[str, Any] = {}
    for name, value in values.items():
        try:
            if value is None and defaults.get(name) is not None:
                raise click.BadParameter("None is not a value of this option; give one")
            checked[name] = None if value is None else check_value(types, name, _plain(value))
        except click.BadParameter as error:
            raise InputError(f"--{name.replace('_', '-')}: {error.message}") from error
    return checked


def _plain(value: Any) -> Any:
    """Return a path as a text, a sequence or an array as a list, and a number of NumPy or PyTorch as one of Python."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    return list(map(_plain, value)) if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else value
