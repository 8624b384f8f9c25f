"""The errors that a user can mend. The command line shows them as one sentence and exits with 2."""

from __future__ import annotations


class InputError(Exception):
    """An option, a file or a value that the user gave cannot be used; the message names it and the remedy."""


class StoreError(InputError):
    """A store is missing, unfinished, damaged, or not the one expected; the message names it and the remedy."""
