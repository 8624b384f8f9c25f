"""The processes that train one experiment together, and the messages that they exchange between steps.

torchrun starts and numbers them. Each trains its own SAEs (loop/share.py). Rank 0 alone writes the experiment's files
and decides when all stop or save. Messages are pickled objects over torch.distributed (gloo), to rank 0 and back: the
ranks trust each other, as with the object collectives of torch.distributed, which have no time limit per message.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor

from data.command.progress import Bar
from data.errors import InputError, Stopped
from data.system.torchrun import RankPlace

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

T = TypeVar("T")
D = TypeVar("D")

HANG_SECONDS = 600.0  # without an answer from a rank, after which it counts as hanging
SETUP_SECONDS = 86_400.0  # for what rank 0 does before the first step, such as a pass over the store
ERROR = "error"  # the key of the note of an error
READ_SECONDS = 5.0  # for notes: without torchrun's agent they are in rank 0, which may be the one that hangs
MEETING_SECONDS = 1.0  # of steps between two meetings


class Ranks(Protocol):
    """The processes, as one of them sees them. All ranks call `gather`, `share` and `any` in the same order."""

    @property
    def leads(self) -> bool:
        """True on rank 0."""

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks, in their order, on rank 0; an empty list on the others."""

    def share(self, value: T | None = None) -> T:
        """Return rank 0's value on all ranks."""

    def any(self, flag: bool) -> bool:
        """Return on all ranks whether the flag is set on one of them."""

    def meet(self, report: T, decide: Callable[[list[T]], D]) -> tuple[list[T], D]:
        """Gather the reports, let rank 0 decide on them, and share the decision; return both."""

    def next_meeting(self, step: int) -> int:
        """Return the step after which the ranks meet next, called by rank 0 after `step` steps."""

    def task_stop(self, stop: threading.Event) -> threading.Event:
        """Return the event that interrupts a task between two steps, if `stop` is set by a signal."""


class Alone:
    """The only process: it meets itself after each step."""

    leads = True

    def gather(self, value: T) -> list[T]:
        return [value]

    def share(self, value: T | None = None) -> T:
        assert value is not None
        return value

    def any(self, flag: bool) -> bool:
        return flag

    def meet(self, report: T, decide: Callable[[list[T]], D]) -> tuple[list[T], D]:
        return [report], decide([report])

    def next_meeting(self, step: int) -> int:
        return step + 1

    def task_stop(self, stop: threading.Event) -> threading.Event:
        return stop


ALONE = Alone()


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


class Group:
    """One of several processes, connected with the others.

    A rank that has ended, or does not answer for HANG_SECONDS, is named on standard error, and Stopped is raised. If
    it has left a note of its error, that is raised instead.
    """

    def __init__(self, place: RankPlace, notes: Notes) -> None:
        self.place, self.notes, self.leads = place, notes, place.rank == 0
        self._met: tuple[int, float] | None = None  # the last meeting's step and time
        self._seconds = SETUP_SECONDS

    def gather(self, value: T) -> list[T]:
        if self.leads:
            return [value, *(self._receive(rank) for rank in range(1, self.place.size))]
        self._send(value, 0)
        return []

    def share(self, value: T | None = None) -> T:
        if not self.leads:
            shared: T = self._receive(0)
            return shared
        assert value is not None
        for rank in range(1, self.place.size):
            self._send(value, rank)
        return value

    def any(self, flag: bool) -> bool:
        return self.share(any(self.gather(flag)))

    def meet(self, report: T, decide: Callable[[list[T]], D]) -> tuple[list[T], D]:
        reports = self.gather(report)
        decision: D = self.share(decide(reports) if reports else None)
        self._seconds = HANG_SECONDS if self.leads else 2 * HANG_SECONDS  # rank 0 may wait for another one meanwhile
        return reports, decision

    def next_meeting(self, step: int) -> int:
        now, before = time.monotonic(), self._met
        self._met = step, now
        if before is None or step == before[0]:
            return step + 1
        return step + max(int(MEETING_SECONDS * (step - before[0]) / (now - before[1])), 1)

    def task_stop(self, stop: threading.Event) -> threading.Event:
        return threading.Event()  # never set, because a task must be done on all ranks or on none

    def _send(self, value: Any, rank: int) -> None:
        buffer = io.BytesIO()
        _Pickler(buffer, protocol=5).dump(value)
        data = torch.frombuffer(buffer.getbuffer(), dtype=torch.uint8)
        for tensor in (torch.tensor([len(data)]), data):
            self._exchange(torch.distributed.isend, tensor, rank)

    def _receive(self, rank: int) -> Any:
        size = torch.zeros(1, dtype=torch.int64)
        self._exchange(torch.distributed.irecv, size, rank)
        data = torch.empty(int(size), dtype=torch.uint8)
        self._exchange(torch.distributed.irecv, data, rank)
        return pickle.loads(data.numpy().tobytes())

    def _exchange(self, begin: Callable[[Tensor, int], Any], tensor: Tensor, rank: int) -> None:
        """Send or receive a tensor. Both the beginning and the waiting may find that the other rank has ended."""
        try:
            begin(tensor, rank).wait(timedelta(seconds=self._seconds))
        except RuntimeError as error:
            if "timed out" not in str(error).lower():
                raise self.notes.lost([rank]) from error
            raise self.notes.lost(self.notes.missing(rank) or [rank], self._seconds) from error


def unreachable(rank: int, error: RuntimeError) -> Stopped:
    """Say on standard error that a rank could not connect with the others; return what to raise."""
    Bar.write(f"rank {rank} stops, because it cannot reach the others ({error})", file=sys.stderr)
    return Stopped()


class _Pickler(pickle.Pickler):
    """Pickles a tensor as its own values: PyTorch pickles the whole memory that it is a view of."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return torch.from_numpy, (value.contiguous().numpy(),)
        return NotImplemented


@contextmanager
def joined(place: RankPlace) -> Iterator[Ranks]:
    """Connect the processes inside the context. Raises Stopped if one of them ends or hangs.

    An error that one of them raises for its user is raised by the others too.
    """
    if place.size == 1:
        yield ALONE
        return
    from torch._C._distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    limit = timedelta(seconds=HANG_SECONDS)
    try:
        store, rank, size = next(rendezvous("env://", timeout=limit))
        # torchrun may keep the store when it restarts the ranks, and with it the addresses of those that have ended.
        store = PrefixStore(f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
        torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=limit)
    except RuntimeError as error:
        raise unreachable(place.rank, error) from error
    notes = Notes(store, rank)
    try:
        yield Group(place, notes)
    except (InputError, OSError) as error:
        notes.leave(error)
        raise
    finally:
        torch.distributed.destroy_process_group()
