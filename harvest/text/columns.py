"""Choose the column of a dataset that holds the text or token ids, and read documents from its rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harvest.text.file_rows import BadRow, Row

Document = str | NDArray[np.int64]

MASK = "attention_mask"
LOOK_AT_ROWS = 10_000  # rows searched for a value that is not null


@dataclass(frozen=True)
class Column:
    """A column of text or of token ids; a column `attention_mask` can mask token ids."""

    name: str
    kind: Literal["text", "tokens"]

    @property
    def beside(self) -> tuple[str, ...]:
        """The further columns to read, in rows that have them."""
        return (MASK,) if self.kind == "tokens" else ()

    def document(self, row: Row) -> Document | None:
        """Return the row's text, or its unmasked token ids, int64 [n]; None if the value is null.

        Raises BadRow for any other value.
        """
        value = row.get(self.name)
        if value is None:
            return None
        if self.kind == "text":
            return self._text(value)
        ids = self._ids(value)
        return ids[self._real(row[MASK], len(ids))] if MASK in row else ids

    def _text(self, value: Any) -> str:
        if not isinstance(value, str):
            raise BadRow(
                f"has {describe(value)} in its column {self.name}, where text is expected; correct the row, or name "
                "another column with --text-column"
            )
        try:
            value.encode()
        except UnicodeEncodeError:  # half of a surrogate pair: JSON allows it, tokenizers do not
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return value

    def _ids(self, value: Any) -> NDArray[np.int64]:
        ids = _array(value)
        if ids is None or ids.ndim != 1 or ids.dtype.kind != "i":
            raise BadRow(
                f"has {describe(_offender(value))} in its column {self.name}, where a list of token ids is expected; "
                "correct the row, or name another column with --text-column"
            )
        return ids.astype(np.int64, copy=False)

    def _real(self, value: Any, n_ids: int) -> NDArray[np.bool_]:
        mask = _array(value)
        if mask is None or mask.ndim != 1 or mask.dtype.kind not in "biuf" or not (mask >= 0).all():
            raise BadRow(f"has an {MASK} that is not a list of 0 and 1; correct the row")
        if len(mask) != n_ids:
            raise BadRow(f"has {n_ids} token ids and {len(mask)} entries in its {MASK}; correct the row")
        return mask > 0


def choose_column(rows: Iterable[Row], wanted: str | None) -> Column | None:
    """Return the column `wanted`, else `text`, else `input_ids`; its first value that is not null gives its kind.

    Returns None if the first LOOK_AT_ROWS rows have no such column or its values are neither texts nor lists.
    """
    names = (wanted,) if wanted else ("text", "input_ids")
    nulls_only: Column | None = None
    for row in islice(rows, LOOK_AT_ROWS):
        name = next((name for name in names if name in row), None)
        if name is None:
            continue
        value = row[name]
        if value is None:
            nulls_only = nulls_only or Column(name, "tokens" if name == "input_ids" else "text")
        elif isinstance(value, list):
            return Column(name, "tokens")
        else:
            return Column(name, "text") if isinstance(value, str) or name == "text" else None
    return nulls_only


def describe(value: Any) -> str:
    """Return a description of a value for a message."""
    if value is None:
        return "a null"
    if isinstance(value, bool | np.bool_):
        return f"a truth value ({value})"
    if isinstance(value, int | float):
        return f"a number ({value})"
    words: dict[type, str] = {str: "text", list: "a list", dict: "an object", bytes: "bytes"}
    return words.get(type(value), f"a {type(value).__name__}")


def _array(value: Any) -> NDArray[Any] | None:
    """Return a list as an array, int64 if it is empty; None if it is ragged or not a list."""
    if not isinstance(value, list):
        return None
    try:
        return np.asarray(value) if value else np.empty(0, dtype=np.int64)
    except ValueError:
        return None


def _offender(value: Any) -> Any:
    """Return the first item of a list that is not an int64; `value` itself if it is not a list."""
    if not isinstance(value, list):
        return value
    return next((item for item in value if type(item) is not int or not -(1 << 63) <= item < 1 << 63), value)
