"""One of several processes that train together, and how they connect.

Messages are pickled objects over torch.distributed (gloo), to rank 0 and back: the ranks trust each other, as with the
object collectives of torch.distributed, which have no time limit per message.
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
from typing import Any, TypeVar

import torch
from torch import Tensor

from data.command.progress import Bar
from data.errors import InputError, Stopped
from data.system.torchrun import RankPlace
from train.ranks.notes import Notes
from train.ranks.protocol import ALONE, Ranks

T = TypeVar("T")
D = TypeVar("D")

HANG_SECONDS = 600.0  # without an answer from a rank, after which it counts as hanging
SETUP_SECONDS = 86_400.0  # for what rank 0 does before the first step, such as a pass over the store
MEETING_SECONDS = 1.0  # of steps between two meetings


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
