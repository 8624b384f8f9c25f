"""What the project's commands share: counts such as `100M`, where a store lies, and one clear sentence for a mistake of
the user's.
"""

from __future__ import annotations

import errno
import re
import sys
from typing import Any

import click

from data.errors import InputError
from data.location import Location, locate

FACTORS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "g": 10**9, "t": 10**12}
BAD_INPUT = 2


class Count(click.ParamType[int]):
    """A positive whole number: `100M`, `1.5k`, `2_000_000`."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d[\d_]*(?:\.\d+)?)([kmbgt]?)", str(value).strip(), re.IGNORECASE)
        if found:
            whole, _, fraction = found[1].replace("_", "").partition(".")
            scaled = int(whole + fraction) * FACTORS[found[2].lower()]
            count, rest = divmod(scaled, 10 ** len(fraction))
            if count > 0 and not rest:
                return count
        self.fail(f"{value!r} is not a positive whole number; write 100M, 1.5k or 2_000_000", param, ctx)


class StoreLocation(click.ParamType[Location]):
    """A store: a folder, or an address such as `s3://bucket/gpt2.zarr`."""

    name = "store"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Location:
        try:
            return locate(value)
        except InputError as error:
            self.fail(str(error), param, ctx)


class StoreCommand(click.Command):
    """A command that shows InputError as one sentence and exits with 2; any other fault keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except InputError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(BAD_INPUT)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            click.echo(f"Error: the disk is full ({error}); free some space, and the same command continues", err=True)
            sys.exit(BAD_INPUT)
