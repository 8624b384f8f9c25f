"""The processes that fill one store: who they are, their locks, and waiting for one another.

Workers share nothing but the disk: each owns windows of its own, and the first also tokenises, creates and finishes.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from data.errors import Stopped
from data.store.writing.lifecycle import staging_path
from data.system.location import Location
from data.system.lock import is_held

WAIT_SECONDS = 2.0
START_SECONDS = 120.0  # which the workers of one machine may begin apart


@dataclass(frozen=True)
class Worker:
    """One of `world_size` processes that fill a store together (torchrun's RANK, WORLD_SIZE, LOCAL_WORLD_SIZE)."""

    rank: int = 0
    world_size: int = 1
    one_machine: bool = False  # all of them are known to run on this one, so their locks can be seen here

    @classmethod
    def from_environment(cls) -> Worker:
        rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        return cls(rank, world_size, int(os.environ.get("LOCAL_WORLD_SIZE", 0)) == world_size)


def worker_lock(out: Location, rank: int) -> Path:
    """The lock of a worker's part: beside the store; of one in an object store, beside its local parts."""
    whole = staging_path(out).with_suffix(".lock")
    return whole.with_name(f"{whole.name}-{rank}") if rank else whole


def wait_for(lacking: Callable[[], set[int]], what: str, out: Location, worker: Worker, stop: threading.Event) -> None:
    """Wait until no worker's part is lacking: `lacking()` gives the ranks of those that are not done; `what` is said.

    Raises Stopped if a signal asks for it, or where one of them has ended: its lock was held and is free, or, if all
    run on this machine, was not held for START_SECONDS.
    """
    others = set(range(worker.world_size)) - {worker.rank}
    began, said, seen = time.monotonic(), False, set[int]()
    while True:
        held = {rank for rank in others if is_held(worker_lock(out, rank))}
        ranks = lacking()  # after looking at the locks: whoever has freed one does no more
        if not ranks:
            return
        late = worker.one_machine and time.monotonic() - began > START_SECONDS
        gone = {rank for rank in ranks - held if rank in seen or late}
        if gone:
            click.echo(
                f"rank {worker.rank} waited for {what}, but rank {min(gone)} has ended; start all again", err=True
            )
            raise Stopped
        if not said:
            click.echo(f"rank {worker.rank} waits for {what}", err=True)
        said, seen = True, seen | held
        if stop.wait(WAIT_SECONDS):
            raise Stopped
