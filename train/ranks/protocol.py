"""The processes that train together, as one of them sees them (`Ranks`), and the only process (`Alone`)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")
D = TypeVar("D")


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
