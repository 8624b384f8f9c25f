"""The settings of architectures (train/variants/) as options: the type, help and defaults of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click

from data.command.option_types import LARGEST_FLOAT, NAME, Boolean, Count, Number
from data.errors import InputError
from train.variants import SETTINGS, ArchitectureSettings, settings_of


@dataclass(frozen=True)
class Setting:
    """A setting as an option of `train`.

    name: of the field; one name means the same in all architectures that have it.
    kind: the type of one value.
    help: a sentence.
    defaults: by variant.
    """

    name: str
    kind: click.ParamType[Any]
    help: str
    defaults: dict[str, Any]


def all_settings(plugins: Iterable[str] = ()) -> dict[str, Setting]:
    """Return the settings of all built-in variants and of some others, by name.

    Raises InputError if a setting cannot be an option, or another variant has one of the name and another type.
    """
    settings: dict[str, Setting] = {}
    for variant, kind in {**SETTINGS, **{variant: settings_of(variant) for variant in plugins}}.items():
        for setting in _settings_of_class(variant, kind):
            known = settings.setdefault(setting.name, setting)
            if _accepted(setting.kind) != _accepted(known.kind):
                raise InputError(
                    f"--variant {variant}: its setting {setting.name} takes {_accepted(setting.kind)}, but that of "
                    f"{next(iter(known.defaults))} takes {_accepted(known.kind)}; rename it"
                )
            known.defaults.update(setting.defaults)
    return settings


def _accepted(kind: click.ParamType[Any]) -> str:
    """Return what a type of option accepts, without its limits."""
    return f"one of {', '.join(map(str, kind.choices))}" if isinstance(kind, click.Choice) else f"a {kind.name}"


def _settings_of_class(variant: str, kind: type[ArchitectureSettings]) -> Iterator[Setting]:
    """Yield the settings of one variant. Raises InputError, naming the field, if it cannot be an option."""
    try:
        hints = get_type_hints(kind, include_extras=True)
    except NameError as error:
        raise InputError(f"--variant {variant}: the types of its Settings cannot be read ({error})") from error
    of_all = [setting.name for setting in fields(ArchitectureSettings)]
    for setting in sorted(fields(kind), key=lambda setting: setting.name in of_all):  # an architecture's own come first
        annotated = get_args(hints[setting.name])
        try:
            option_type = _option_type(annotated)
        except (KeyError, ValueError, AssertionError, TypeError) as error:
            raise InputError(
                f"--variant {variant}: its setting {setting.name} cannot be an option; annotate it as Annotated[TYPE, "
                "HELP] with bool, int, float, str or Literal"
            ) from error
        if setting.default is MISSING:
            raise InputError(f"--variant {variant}: its setting {setting.name} needs a default")
        yield Setting(setting.name, option_type, str(annotated[-1]), {variant: setting.default})


def _option_type(annotated: tuple[Any, ...]) -> click.ParamType[Any]:
    """Return the type of a field's option, from the parts of its annotation. Raises ValueError or KeyError."""
    plain, *more = annotated
    if len(more) > 1 and isinstance(more[0], click.ParamType):
        return more[0]
    if len(more) != 1:
        raise ValueError("not annotated")
    if get_origin(plain) is Literal:
        return click.Choice(get_args(plain))
    kinds: dict[Any, click.ParamType[Any]] = {
        bool: Boolean(), int: Count(zero=True), float: Number(-LARGEST_FLOAT), str: NAME,
    }  # fmt: skip
    return kinds[plain]
