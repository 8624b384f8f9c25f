"""Refuse rows with a value that is not finite in its stored form."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from data.errors import InputError
from data.store.encodings import VALUES
from data.store.schema import Schema


def check_finite(schema: Schema, arrays: Mapping[str, torch.Tensor], rows: NDArray[np.int64]) -> None:
    """Raise InputError for the first row with a value that is NaN or infinite.

    arrays: array name → encoded rows, of which the first len(rows) count. rows: their numbers.
    """
    encoding = schema.encoding
    for hook in schema.hooks:
        encoded = {suffix: arrays[hook + suffix][: len(rows)] for suffix in (VALUES, *encoding.row_scales)}
        unstorable = encoding.first_unstorable(encoded)
        if unstorable is not None:
            index, is_nan = unstorable
            raise refusal(schema, hook, int(rows[index]), is_nan)


def refusal(schema: Schema, hook: str, row: int, is_nan: bool) -> InputError:
    """Return the error for a row's value."""
    context, position = divmod(row, schema.layout.rows_per_context)
    position += schema.skip_positions
    where = f"{hook} at token {context * schema.context_size + position} (context {context}, position {position})"
    encoding = schema.encoding
    if not is_nan and encoding.wider is not None:
        return InputError(
            f"--dtype {encoding.name}: a value of {where} is beyond its largest, {encoding.largest:.0f}; "
            f"run again with --dtype {encoding.wider} and --overwrite"
        )
    return InputError(
        f"the model computes {'NaN' if is_nan else 'an infinite value'} in {where}, which no store keeps; "
        "check its weights, or leave that layer out with --layers (and --overwrite)"
    )
