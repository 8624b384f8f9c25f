"""Errors that a user can fix, which the command line shows as one sentence (exit code 2), and `Stopped`."""

from __future__ import annotations

COPY_OR_AGAIN = "put the file back from a copy, or harvest the store again, with --overwrite"


class InputError(Exception):
    """An option, a file or a value that the user gave cannot be used. The message names it and the remedy.

    The command line appends `remedy` to the message, if it is set.
    """

    remedy: str | None = None


class StoreError(InputError):
    """A store is missing, unfinished, damaged, or not the expected one. The message names it and the remedy."""


class DamagedError(StoreError):
    """A file of a store is missing or was changed. The message names it; `remedy` says what to do."""

    def __init__(self, message: str, *, remedy: str = COPY_OR_AGAIN) -> None:
        super().__init__(message)
        self.remedy = remedy


class RecycledError(StoreError):
    """Rows of a store are asked for that were removed after a training had used them."""


class UnreachableError(StoreError):
    """An object store could not be reached for minutes. The same command continues once it can."""


class OtherVersionError(StoreError):
    """A store has a version of the format that this version of the package does not read."""


class WindowDamagedError(DamagedError):
    """The unfinished files of a window were changed or lost. The window can be harvested again."""


class Stopped(Exception):
    """A signal stopped a long command. Finished work is kept, and the same command continues it."""
