"""Convert JSON values to dataclasses, tuples and literals, refusing everything else.

msgspec would not do: it ignores unknown entries of dataclasses, and accepts infinite floats and integers ≥ 2⁶³.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")

LARGEST = 2**63 - 1


def typed(kind: type[T], value: Any, name: str = "") -> T:
    """Convert a JSON value to `kind`: a dataclass, tuple[X, ...], dict[str, X], Literal, X | None, int, float …

    Raises ValueError, which names the entry, if the value is of another type.
    """
    return cast(T, _typed(kind, value, name or "it"))


def _typed(kind: Any, value: Any, name: str) -> Any:
    if kind is Any:
        return value
    if isinstance(kind, type):
        return _dataclass(kind, value, name) if is_dataclass(kind) else _scalar(kind, value, name)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _typed(next(argument for argument in arguments if argument is not type(None)), value, name)
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise ValueError(f"{name} is not one of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{name} is not a list")
        if arguments[-1] is not ... and len(value) != len(arguments):
            raise ValueError(f"{name} has not {len(arguments)} entries")
        kinds = arguments[:1] * len(value) if arguments[-1] is ... else arguments
        return tuple(_typed(kinds[i], entry, f"{name}[{i}]") for i, entry in enumerate(value))
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} is not an object")
    if arguments[1] is Any:
        return dict(value)
    return {key: _typed(arguments[1], entry, f"{name}.{key}") for key, entry in value.items()}


def _dataclass(kind: Any, value: Any, name: str) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} is not an object")
    hints, prefix = _hints(kind), "" if name == "it" else f"{name}."
    values = {}
    for field in fields(kind):
        if field.name in value:
            values[field.name] = _typed(hints[field.name], value[field.name], f"{prefix}{field.name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"it lacks {prefix}{field.name}")
    unknown = set(value) - set(values)
    if unknown:
        raise ValueError(f"it has an unknown entry {prefix}{min(unknown)}")
    return kind(**values)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _scalar(kind: Any, value: Any, name: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST:
        value = float(value)
    if type(value) is not kind:
        raise ValueError(f"{name} is not of type {kind.__name__}")
    if (kind is int and abs(value) > LARGEST) or (kind is float and not math.isfinite(value)):
        raise ValueError(f"{name} is out of range")
    return value
