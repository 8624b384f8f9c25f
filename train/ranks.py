"""The processes that train one experiment together, and the messages that they exchange between steps.

torchrun starts and numbers them. Each trains its own SAEs (loop/share.py). Rank 0 alone writes the experiment's files
and decides when all stop or save. Messages are pickled objects over torch.distributed (gloo), to rank 0 and back: the
ranks trust each other, as with the object collectives of torch.distributed, which have no time limit per message.
"""

from __future__ import annotations

import io
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol, TypeVar

import torch

from data.command.progress import Bar
from data.errors import Stopped
from data.system.torchrun import RankPlace

T = TypeVar("T")
D = TypeVar("D")

HANG_SECONDS = 600.0  # without an answer from a rank, after which it counts as hanging
SETUP_SECONDS = 86_400.0  # for what rank 0 does before the first step, such as a pass over the store
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


class Group:
    """One of several processes, connected with the others.

    A rank that has ended, or does not answer for HANG_SECONDS, is named on standard error, and Stopped is raised.
    """

    def __init__(self, place: RankPlace) -> None:
        self._place, self.leads = place, place.rank == 0
        self._met: tuple[int, float] | None = None  # the last meeting's step and time
        self._seconds = SETUP_SECONDS

    def gather(self, value: T) -> list[T]:
        if self.leads:
            return [value, *(self._receive(rank) for rank in range(1, self._place.size))]
        self._send(value, 0)
        return []

    def share(self, value: T | None = None) -> T:
        if not self.leads:
            shared: T = self._receive(0)
            return shared
        assert value is not None
        for rank in range(1, self._place.size):
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
            self._wait(torch.distributed.isend(tensor, rank), rank)

    def _receive(self, rank: int) -> Any:
        size = torch.zeros(1, dtype=torch.int64)
        self._wait(torch.distributed.irecv(size, rank), rank)
        data = torch.empty(int(size), dtype=torch.uint8)
        self._wait(torch.distributed.irecv(data, rank), rank)
        return pickle.loads(data.numpy().tobytes())

    def _wait(self, work: Any, rank: int) -> None:
        try:
            work.wait(timedelta(seconds=self._seconds))
        except RuntimeError as error:
            raise lost(f"rank {rank}", error, self._seconds) from error


def lost(other: str, error: RuntimeError, seconds: float) -> Stopped:
    """Say on standard error which other rank has ended, or has not answered for some seconds; return what to raise."""
    why = f"has not answered for {seconds:g} seconds" if "timed out" in str(error).lower() else "has ended"
    rank = torch.distributed.get_rank()
    Bar.write(f"rank {rank} stops, because {other} {why}; start all ranks again", file=sys.stderr)
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
        Bar.write(f"rank {place.rank} stops, because it cannot reach the others ({error})", file=sys.stderr)
        raise Stopped from error
    try:
        yield Group(place)
    finally:
        torch.distributed.destroy_process_group()
