"""The files by which a harvest and the trainings that follow it exchange requests, beside the store's unfinished parts.

    NAME.zarr.partial/followers/ID.json        a training: the windows that it no longer needs (Follower)
    NAME.zarr.partial/requests/RANK.json       a worker of the harvest that waits for space: the windows that are to go

A training writes its file when it starts, and again after each checkpoint: what the file says then holds for every
later start of the training. Files are ignored once the store is complete, because nothing is removed then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data.errors import DamagedError
from data.store.chunks import write_json
from data.store.sealed import read_sealed, sealed
from data.store.writing.lifecycle import staging_path


@dataclass(frozen=True)
class Follower:
    """A training that follows a store.

    out: its folder, an absolute path. store: the store's identity. unused: how many of the first windows it no longer
    needs. needs: the largest number of windows that it needs at once.
    """

    out: str
    store: str
    unused: int
    needs: int

    def path(self, store: Path) -> Path:
        """Return the follower's file."""
        return _folder(store) / f"{hashlib.sha256(self.out.encode()).hexdigest()[:16]}.json"

    def write(self, store: Path) -> None:
        """Write the follower's file, durably. Does nothing if the harvest has removed its unfinished parts."""
        if staging_path(store).exists():
            with suppress(FileNotFoundError):  # it removes them now
                write_json(self.path(store), sealed(asdict(self)))


def followers(store: Path, identity: str) -> list[Follower]:
    """Return the trainings that follow a store. Raises DamagedError."""
    example = asdict(Follower("", "", 0, 0))
    known = [Follower(**entries) for entries in _read(_folder(store), example)]
    return [follower for follower in known if follower.store == identity]


def request(store: Path, rank: int, n_windows: int) -> None:
    """Ask the followers for the first `n_windows` windows, as one of the harvest's workers."""
    write_json(_requests(store) / f"{rank}.json", sealed({"windows": n_windows}))


def requested_windows(store: Path) -> int:
    """Return how many of the first windows the harvest has asked for; 0 if it has not. Raises DamagedError."""
    return max((entries["windows"] for entries in _read(_requests(store), {"windows": 0})), default=0)


def _folder(store: Path) -> Path:
    return staging_path(store) / "followers"


def _requests(store: Path) -> Path:
    return staging_path(store) / "requests"


def _read(folder: Path, example: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the entries of each file of a folder, which have the names and types of `example`."""
    kinds = {name: type(value) for name, value in example.items()}
    for path in sorted(folder.glob("*.json")):
        try:
            entries = read_sealed(path)
        except FileNotFoundError:  # the harvest has just ended
            continue
        if {name: type(value) for name, value in entries.items()} != kinds:
            raise DamagedError(f"{path} is damaged: it does not have {', '.join(kinds)}", remedy="remove it")
        yield entries
