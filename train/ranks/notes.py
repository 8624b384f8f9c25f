"""Notes by which a rank that has ended, or that hangs, is named, and by which the error of one is raised by all."""

from __future__ import annotations

import json
import pickle
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from data.command.progress import Bar
from data.errors import Stopped

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

T = TypeVar("T")

ERROR = "error"  # the key of the note of an error
READ_SECONDS = 5.0  # for notes: without torchrun's agent they are in rank 0, which may be the one that hangs


class Notes:
    """Notes of the ranks in the store by which they connected.

    A rank leaves its error, if that is one for the user, and the others raise it instead of naming the rank. Without
    torchrun's agent the store is in rank 0 and ends with it.

    Ranks that wait long for those that split batches with them leave a note too, by which a rank that hangs is named.
    Such ranks add up their tensors in operations of all of them, which do not tell who is missing. A rank that has
    waited in one for half of HANG_SECONDS leaves a note. A rank without a note, for which others wait, is missing.
    Nothing is exchanged while no rank waits long.

    written: whether this rank has a note of waiting now.
    """

    def __init__(self, store: Store, rank: int) -> None:
        """Make the notes as the rank number `rank` reads and writes them."""
        self._store, self._rank, self.written = store, rank, False

    def write(self, members: Sequence[int]) -> None:
        """Note that this rank waits for the others of a group, which are all of `members` but itself."""
        self._store.set(_note_key(self._rank), json.dumps(list(members)))
        self.written = True

    def remove(self) -> None:
        """Remove this rank's note, after the others have come."""
        self._store.set(_note_key(self._rank), json.dumps([]))
        self.written = False

    def missing(self, rank: int) -> list[int]:
        """Return the ranks that do not answer if `rank` does not: those without a note that it waits for, or itself.

        Returns an empty list if that cannot be known: the notes cannot be read, or all have one.
        """

        def read() -> list[int]:
            members = self._read(rank)
            return [member for member in members if not self._read(member)] if members else [rank]

        return _in_time(read) or []

    def leave(self, error: Exception) -> None:
        """Note this rank's error, which ends it."""
        with suppress(RuntimeError):
            self._store.set(ERROR, pickle.dumps(error).hex())

    def lost(self, others: Sequence[int], seconds: float | None = None) -> Exception:
        """Return what to raise because one of some other ranks has ended, or has not answered: its error, or Stopped.

        Then one of them is named on standard error. seconds: without an answer; None: it has ended.
        """
        error = _in_time(self._read_error) if seconds is None else None
        if error is not None:
            return error
        names = " or ".join(f"rank {other}" for other in others)
        why = "has ended" if seconds is None else f"has not answered for {seconds:.0f} seconds"
        Bar.write(f"rank {self._rank} stops, because {names} {why}; start all ranks again", file=sys.stderr)
        return Stopped()

    def _read_error(self) -> Exception | None:
        return pickle.loads(bytes.fromhex(self._store.get(ERROR).decode())) if self._store.check([ERROR]) else None

    def _read(self, rank: int) -> list[int]:
        """Return the members of the group for which a rank waits; none if it has no note."""
        if not self._store.check([_note_key(rank)]):
            return []
        members: list[int] = json.loads(self._store.get(_note_key(rank)))
        return members


def _in_time(read: Callable[[], T]) -> T | None:
    """Return what is read from the store; None if that takes READ_SECONDS, or the store has ended with its process."""
    answers: list[T] = []

    def answer() -> None:
        with suppress(RuntimeError):
            answers.append(read())

    reading = threading.Thread(target=answer, daemon=True)
    reading.start()
    reading.join(READ_SECONDS)
    return answers[0] if answers else None


def _note_key(rank: int) -> str:
    return f"rank {rank} waits for"
