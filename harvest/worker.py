"""The processes that fill one store: who they are, their locks, waiting for one another, and being told to stop.

Workers share nothing but the disk: each owns windows of its own, and the first also tokenises, creates and finishes.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from data.errors import InputError, Stopped
from data.location import Location
from data.writer import staging_path

WAIT_SECONDS = 2.0


@dataclass(frozen=True)
class Worker:
    """One of `world_size` processes that fill a store together (torchrun's RANK, WORLD_SIZE, LOCAL_RANK)."""

    rank: int = 0
    world_size: int = 1

    @classmethod
    def from_environment(cls) -> Worker:
        return cls(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))


@contextmanager
def locked(out: Location, worker: Worker) -> Iterator[None]:
    """Hold the lock of this worker's part; the kernel frees it when the process ends, however it ends.

    Raises InputError where another process on this disk holds it: an object store has no locks.
    """
    with open(staging_path(out) / f"lock.{worker.rank}", "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"--out: another harvest is writing to {out}; wait for it") from error
        yield


def wait_for(condition: Callable[[], bool], stop: threading.Event) -> None:
    """Wait until other workers have done their part."""
    while not condition():
        if stop.wait(WAIT_SECONDS):
            raise Stopped
