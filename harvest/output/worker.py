"""The processes that fill one store together: their ranks, their locks, and how they wait for each other.

Workers share only the disk. Each fills its own windows. Rank 0 also tokenises the text and creates the store. Under
torchrun it waits for the others and finishes the store; in an array of jobs, which may run one after the other, the
worker that commits the last window finishes it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from data.errors import InputError, Stopped
from data.store.writing.lifecycle import worker_lock
from data.system.location import Location
from data.system.lock import holder_of, is_held, locked

WAIT_SECONDS = 2.0
START_SECONDS = 120.0  # the longest expected delay between the starts of workers on one machine


@dataclass(frozen=True)
class Worker:
    """One of `world_size` processes that fill a store together."""

    rank: int = 0
    world_size: int = 1
    one_machine: bool = False  # all workers run on this machine, so their locks are visible
    end_together: bool = False  # all workers are started and awaited as one, as by torchrun
    source: str = ""  # the variable that describes the worker, if a batch system set it

    @property
    def reports(self) -> bool:
        """True if this worker prints the summary of a store that it finds complete."""
        return self.rank == 0 or not self.end_together

    def __str__(self) -> str:
        return f"worker {self.rank} of {self.world_size}"


def finishing_lock(out: Location) -> Path:
    """Return the path of the lock of the worker that finishes a store."""
    return worker_lock(out, 0).with_suffix(".finishing")


@contextmanager
def locked_as(out: Location, worker: Worker) -> Iterator[None]:
    """Hold the lock of a worker inside the context.

    Raises InputError if another process is this worker, or is one of another number of workers, whose windows would
    overlap with those of this one.
    """
    first = worker_lock(out, 0)
    with locked(worker_lock(out, worker.rank), f"--out {out}", says=f", {worker}"):
        for path in sorted(first.parent.glob(f"{first.name}*")):
            holder = holder_of(path)
            if holder and path != worker_lock(out, worker.rank) and not holder.endswith(f" of {worker.world_size}"):
                raise InputError(
                    f"--worker: {out} is being filled by {holder}, and this is {worker}; wait for the other workers, "
                    "or give their number"
                )
        yield


def wait_for(
    unfinished: Callable[[], set[int]], what: str, out: Location, worker: Worker, stop: threading.Event
) -> None:
    """Wait for `what` until `unfinished()`, the ranks of the workers that are not done, is empty.

    Raises Stopped if `stop` is set or an unfinished worker has ended: its lock was held and is free now or, if all
    workers run on this machine, was never held within START_SECONDS.
    """
    began, announced, seen = time.monotonic(), False, set[int]()
    while True:
        held = {rank for rank in unfinished() - {worker.rank} if is_held(worker_lock(out, rank))}
        ranks = unfinished()  # after the locks: a worker that has freed its lock does no more work
        if not ranks:
            return
        late = worker.one_machine and time.monotonic() - began > START_SECONDS
        ended = {rank for rank in ranks - held if rank in seen or late}
        if ended:
            click.echo(
                f"rank {worker.rank} waited for {what}, but rank {min(ended)} has ended; start all again", err=True
            )
            raise Stopped
        if not announced:
            click.echo(f"rank {worker.rank} waits for {what}", err=True)
        announced, seen = True, seen | held
        if stop.wait(WAIT_SECONDS):
            raise Stopped
