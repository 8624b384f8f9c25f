"""The kinds of wrong values of an option."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """A kind of wrong value."""

    WRONG_TYPE = "wrong type"
    EMPTY = "empty"
    ZERO = "zero"
    NEGATIVE = "negative"
    HUGE = "huge"
    NAN = "NaN"
    ABSENT = "absent"
    WRONG_KIND = "wrong kind"
    NO_RIGHTS = "no rights"
    CONTRADICTION = "contradiction"


WRONG_TYPE, EMPTY, ZERO, NEGATIVE, HUGE, NAN, ABSENT, WRONG_KIND, NO_RIGHTS, CONTRADICTION = Kind
