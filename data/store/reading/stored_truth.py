"""Read the features that a store's activations are sums of (data/store/truth.py)."""

from __future__ import annotations

from data.errors import DamagedError, InputError
from data.store.reading.checked_arrays import CheckedArrays
from data.store.truth import FIRINGS, GROUPS, PROBABILITIES, ROW_OFFSETS, Truth, direction_name


def read_truth(arrays: CheckedArrays) -> Truth | None:
    """Return the truth that the store records, or None. Raises DamagedError if it does not fit the store."""
    schema = arrays.schema
    if schema.truth is None:
        return None
    directions = {hook: arrays.initial_rows(direction_name(hook), None) for hook in schema.hooks}
    values = (arrays.initial_rows(name, None) for name in (PROBABILITIES, ROW_OFFSETS, FIRINGS))
    truth = Truth(directions, *values)
    try:
        truth.check(schema.widths, schema.layout.split_rows("heldout"))
    except InputError as error:
        raise DamagedError(f"{arrays.store / GROUPS[0]} is damaged: {error}") from error
    return truth
