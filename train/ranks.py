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
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor

from data.command.progress import Bar
from data.errors import Stopped
from data.system.torchrun import RankPlace

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

T = TypeVar("T")
D = TypeVar("D")

HANG_SECONDS = 600.0  # without an answer from a rank, after which it counts as hanging
SETUP_SECONDS = 86_400.0  # for what rank 0 does before the first step, such as a pass over the store
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


class WaitNotes:
    """Notes of ranks that wait long for those that split batches with them, by which a rank that hangs is named.

    Such ranks add up their tensors in operations of all of them, which do not tell who is missing. A rank that has
    waited in one for half of HANG_SECONDS leaves a note. A rank without a note, for which others wait, is missing. The
    notes are in the store by which the ranks connected. Nothing is exchanged while no rank waits long.

    written: whether this rank has a note now.
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
        answers: list[list[int]] = []
        reading = threading.Thread(target=self._read_missing, args=(rank, answers), daemon=True)
        reading.start()
        reading.join(READ_SECONDS)
        return answers[0] if answers else []

    def _read_missing(self, rank: int, answers: list[list[int]]) -> None:
        try:
            members = self._read(rank)
            answers.append([member for member in members if not self._read(member)] if members else [rank])
        except RuntimeError:  # the store has ended with its process
            pass

    def _read(self, rank: int) -> list[int]:
        """Return the members of the group for which a rank waits; none if it has no note."""
        if not self._store.check([_note_key(rank)]):
            return []
        members: list[int] = json.loads(self._store.get(_note_key(rank)))
        return members


def _note_key(rank: int) -> str:
    return f"rank {rank} waits for"


class Group:
    """One of several processes, connected with the others.

    A rank that has ended, or does not answer for HANG_SECONDS, is named on standard error, and Stopped is raised.

    notes: of the ranks that wait long for those that split batches with them.
    """

    def __init__(self, place: RankPlace, notes: WaitNotes) -> None:
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
                raise lost([rank]) from error
            raise lost(self.notes.missing(rank) or [rank], self._seconds) from error


def lost(others: Sequence[int], seconds: float | None = None) -> Stopped:
    """Say on standard error that one of some other ranks has ended, or has not answered; return what to raise.

    seconds: without an answer; None: it has ended.
    """
    rank, names = torch.distributed.get_rank(), " or ".join(f"rank {other}" for other in others)
    why = "has ended" if seconds is None else f"has not answered for {seconds:.0f} seconds"
    Bar.write(f"rank {rank} stops, because {names} {why}; start all ranks again", file=sys.stderr)
    return Stopped()


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
    """Connect the processes inside the context. Raises Stopped if one of them ends or hangs."""
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
    try:
        yield Group(place, WaitNotes(store, rank))
    finally:
        torch.distributed.destroy_process_group()
