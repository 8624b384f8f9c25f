"""Types of the fixtures that are functions (tests/conftest.py)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from data import Store


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Finished]


class LocalStore(Store):
    """A store on a disk, as the tests' stores are unless a test gives another `root`."""

    path: Path


MakeStore = Callable[..., tuple[LocalStore, dict[str, NDArray[Any]], NDArray[Any]]]
TrainSmall = Callable[..., Path]
