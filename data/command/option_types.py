"""Types of option values. Each refuses an unusable value with a sentence that says what is accepted.

The command line gives a value as text. A TOML file or a recorded command may also give a number, a boolean or a list;
the same checks apply.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from data.command.stop import TRY_AGAIN
from data.command.writable import check_writable
from data.errors import InputError, UnreachableError
from data.system.location import Location, locate, named

FACTORS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "g": 10**9, "t": 10**12}
MOST = 10**15  # tokens or rows: more than any disk holds
MOST_BYTES = 10**18
LONGEST_NAME, LONGEST_PATH = 255, 4095  # bytes; the usual limits of file systems
LARGEST_SEED = 2**63 - 1
TRUE, FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}
LARGEST_FLOAT = 1e30  # leaves room in float32 for products with a norm

NUMERAL = r"[0-9][0-9_]{0,60}(?:\.[0-9]{1,30})?(?:e[+-]?[0-9]{1,3})?"

T = TypeVar("T")


class Text(click.ParamType[str]):
    """A text. An empty one is refused: it is more often an unset shell variable than a wish for the default."""

    name = "text"

    def __init__(self, name: str = "text") -> None:
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return checked_text(self, value, param, ctx)


class Count(click.ParamType[int]):
    """A whole number from 1 (or from 0) to `most`: `100M`, `1.5k`, `1e6`, `2_000_000`."""

    name = "count"

    def __init__(self, name: str = "count", *, zero: bool = False, most: int = MOST) -> None:
        self.name, self.least, self.most = name, 0 if zero else 1, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        kind = "whole number" if self.least == 0 else "positive whole number"
        text = "" if isinstance(value, bool) else str(value).strip()
        match = re.fullmatch(f"(-?{NUMERAL})([kmbgt]?)", text, re.IGNORECASE)
        if match is None:
            self.fail(f"{shown(value)} is not a {kind}; write 8, 1.5k, 100M, 1e6 or 2_000_000", param, ctx)
        count = Decimal(match[1]) * FACTORS[match[2].lower()]
        if count > self.most:
            self.fail(f"{shown(value)} is too much; give at most {self.most:,}", param, ctx)
        if count < self.least:
            self.fail(f"{shown(value)} is less than {self.least}", param, ctx)
        if count != count.to_integral_value():
            self.fail(f"{shown(value)} is not a {kind}", param, ctx)
        return int(count)


class Size(click.ParamType[int]):
    """A number of bytes: `200G`, `1.5TB`, `500 MB`, `1e9`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(f"({NUMERAL}) ?([kmgt]?)b?", str(value).strip(), re.IGNORECASE)
        size = Decimal(match[1]) * FACTORS[match[2].lower()] if match else Decimal(0)
        if not 1 <= size <= MOST_BYTES:
            self.fail(f"{shown(value)} is not a size; write 200G, 1.5TB or 500MB", param, ctx)
        return int(size)


class Number(click.ParamType[float]):
    """A finite number from `least` to `most`; `above`: greater than `least`."""

    name = "number"

    def __init__(self, least: float, most: float = LARGEST_FLOAT, *, above: bool = False) -> None:
        self.least, self.most, self.above = least, most, above

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if math.isnan(number):
            low = f"greater than {self.least:g}" if self.above else f"{self.least:g} or more"
            self.fail(f"{shown(value)} is not a number; give one that is {low}", param, ctx)
        if self.above and number <= self.least:
            self.fail(f"{shown(value)} is not greater than {self.least:g}", param, ctx)
        if number < self.least:
            self.fail(f"{shown(value)} is less than {self.least:g}", param, ctx)
        if number > self.most:
            self.fail(f"{shown(value)} is too much; give at most {self.most:g}", param, ctx)
        return number + 0.0  # −0 becomes 0


class Boolean(click.ParamType[bool]):
    """true or false, also as yes or no, on or off, 1 or 0."""

    name = "boolean"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bool:
        word = str(value).strip().lower()
        if word not in TRUE | FALSE:
            self.fail(f"{shown(value)} is neither true nor false; write true or false", param, ctx)
        return word in TRUE


class ListOf(click.ParamType[tuple[T, ...]]):
    """One or more values of a type, separated by commas (in a TOML file also a list), without repetition."""

    def __init__(self, element: click.ParamType[T], name: str) -> None:
        self.element, self.name = element, name

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        """Return the values if they are a few names; None stands for the type's name."""
        return self.element.get_metavar(param, ctx)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[T, ...]:
        parts: Sequence[Any] = value if isinstance(value, (list, tuple)) else str(value).split(",")
        texts = [part.strip() if isinstance(part, str) else part for part in parts]
        if not texts or "" in texts:
            self.fail(f"{shown(value)} has an empty part; give one {self.name}, or several with commas", param, ctx)
        values = tuple(self.element.convert(part, param, ctx) for part in texts)
        twice = next((part for part, v in zip(texts, values, strict=True) if values.count(v) > 1), None)
        if twice is not None:
            self.fail(f"{shown(value)} has {twice} twice; give each once", param, ctx)
        return values


class UnreachableStore(click.BadParameter):
    """An address whose object store could not be reached; the same command may succeed later."""

    exit_code = TRY_AGAIN


class StoreLocation(click.ParamType[Location]):
    """A store: a folder, or an address such as `s3://bucket/gpt2.zarr`."""

    name = "store"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Location:
        try:
            return locate(value if isinstance(value, Location) else checked_text(self, value, param, ctx))
        except UnreachableError as error:
            raise UnreachableStore(str(error), ctx, param) from error
        except InputError as error:
            self.fail(str(error), param, ctx)


class LocalPath(click.ParamType[Path]):
    """A file or folder on a local disk."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        text = str(value) if isinstance(value, Path) else checked_text(self, value, param, ctx)
        if "://" in text:
            self.fail(f"{shown(value)} is an address; give a local path", param, ctx)
        return named(text)


class OutputFolder(LocalPath):
    """A local folder for output, which need not exist yet. Whether it can be written is tried before any work."""

    name = "folder"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        folder = super().convert(value, param, ctx)
        if ctx is None or not ctx.resilient_parsing:  # as in shell completion
            try:
                check_writable(folder)
            except InputError as error:
                raise click.UsageError(str(error), ctx) from error
        return folder


NAME = Text("name")
SEED = Count("integer", zero=True, most=LARGEST_SEED)


def checked_text(
    kind: click.ParamType[Any], value: Any, param: click.Parameter | None, ctx: click.Context | None
) -> str:
    """Return the value if it is a non-empty text that can be a name; otherwise fail with the option's usage error."""
    if not isinstance(value, str):
        kind.fail(f"{shown(value)} is not a text", param, ctx)
    if not value.strip():
        kind.fail("the value is empty; give one, or leave the option out", param, ctx)
    if "\0" in value:
        kind.fail("the value has a zero byte, which no name may have", param, ctx)
    try:
        longest = max(len(part.encode()) for part in value.split("/"))
    except UnicodeEncodeError:
        kind.fail(f"{shown(value)} is not UTF-8; give a name that is", param, ctx)
    if longest > LONGEST_NAME or len(value) > LONGEST_PATH:
        kind.fail(f"{shown(value)} is longer than a file's name may be; give a shorter one", param, ctx)
    return value


def shown(value: Any) -> str:
    """Return a value as a message quotes it, shortened to about 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else text[:60] + " … " + text[-10:]


def suggestion(word: str, known: Iterable[str], otherwise: str) -> str:
    """Return a question that names similar words, such as `did you mean topk?`; `otherwise` if there are none."""
    similar = get_close_matches(word, [*known])
    return f"did you mean {' or '.join(similar)}?" if similar else otherwise


def is_given(ctx: click.Context, name: str) -> bool:
    """Return whether a parameter was given on the command line or in a file, rather than left at its default."""
    return ctx.get_parameter_source(name) not in (None, ParameterSource.DEFAULT)


def flag_of(ctx: click.Context, name: str) -> str:
    """Return the option as users write it: `as_json` → `--json`."""
    return next(max(param.opts, key=len) for param in ctx.command.params if param.name == name)


def excludes(*others: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Return a callback for an option that cannot be combined with `others`. It raises click.UsageError.

    Each of the others needs such a callback too, because click calls the callbacks in the order of the command line.
    """

    def check(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        name = str(param.name)
        if is_given(ctx, name) and value is not False:
            for other in others:
                if is_given(ctx, other) and ctx.params.get(other) not in (None, False):
                    both = f"{flag_of(ctx, other)} and {flag_of(ctx, name)}"
                    raise click.UsageError(f"{both} exclude each other; give one of them", ctx)
        return value

    return check


def check_no_effect(ctx: click.Context, because: str, *names: str) -> None:
    """Raise InputError if one of the named options is given although it has no effect; `because` says why.

    An option given with its default value is accepted, because a recorded command lists those too.
    """
    for param in ctx.command.params:
        if param.name in names and is_given(ctx, param.name):
            default = param.default  # `get_default` would give the default from a file of options
            value = ctx.params.get(param.name)
            if value is not False and value != (
                param.type_cast_value(ctx, default) if isinstance(default, str) else default
            ):
                raise InputError(f"{flag_of(ctx, param.name)}: has no effect {because}; leave it out")
