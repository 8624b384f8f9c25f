"""The processes that fill one store together: their ranks, their locks, and how they wait for each other.

Workers share only the disk. Each fills its own windows; rank 0 also tokenises the text, creates the store and finishes
it.
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
START_SECONDS = 120.0  # the longest expected delay between the starts of workers on one machine


@dataclass(frozen=True)
class Worker:
    """One of `world_size` processes that fill a store together."""

    rank: int = 0
    world_size: int = 1
    one_machine: bool = False  # all workers run on this machine, so their locks are visible

    @classmethod
    def from_environment(cls) -> Worker:
        """Return the worker that torchrun's RANK, WORLD_SIZE and LOCAL_WORLD_SIZE describe; else a single one."""
        rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        return cls(rank, world_size, int(os.environ.get("LOCAL_WORLD_SIZE", 0)) == world_size)


def worker_lock(out: Location, rank: int) -> Path:
    """Return the path of a worker's lock, beside the store's unfinished parts."""
    first = staging_path(out).with_suffix(".lock")
    return first.with_name(f"{first.name}-{rank}") if rank else first


def wait_for(
    unfinished: Callable[[], set[int]], what: str, out: Location, worker: Worker, stop: threading.Event
) -> None:
    """Wait for `what` until `unfinished()`, the ranks of the workers that are not done, is empty.

    Raises Stopped if `stop` is set or an unfinished worker has ended: its lock was held and is free now or, if all
    workers run on this machine, was never held within START_SECONDS.
    """
    others = set(range(worker.world_size)) - {worker.rank}
    began, announced, seen = time.monotonic(), False, set[int]()
    while True:
        held = {rank for rank in others if is_held(worker_lock(out, rank))}
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
