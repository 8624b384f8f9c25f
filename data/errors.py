"""The errors that a user can mend, which the command line shows as one sentence, exiting with 2; and being stopped."""

from __future__ import annotations

COPY_OR_AGAIN = "put the file back from a copy, or harvest the store again, with --overwrite"


class InputError(Exception):
    """An option, a file or a value that the user gave cannot be used; the message names it and the remedy.

    The command line adds `remedy`, where there is one, to the message.
    """

    remedy: str | None = None


class StoreError(InputError):
    """A store is missing, unfinished, damaged, or not the one expected; the message names it and the remedy."""


class DamagedError(StoreError):
    """A file of a store is missing, or not what was written; the message names it, `remedy` says what to do."""

    def __init__(self, message: str, *, remedy: str = COPY_OR_AGAIN) -> None:
        super().__init__(message)
        self.remedy = remedy


class OtherVersionError(StoreError):
    """A store has another version of the format than this one reads; the message names it."""


class WindowDamagedError(DamagedError):
    """What a stopped harvest left of a window is not what was written; the window can be harvested again."""


class Stopped(Exception):
    """A signal asked a long command to stop; what is done is kept, and the same command continues."""
