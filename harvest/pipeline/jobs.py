"""The objects that a harvest's threads exchange: buffers, batches to write, requests to sync; and a clock of stages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from data.store.layout import RowRange
from data.store.writing.window_writer import WindowWriter

if TYPE_CHECKING:
    from harvest.gpu.window_sums import Arrays

STAGES = ("forward", "copy", "statistics", "disk", "seal")


@dataclass
class Clock:
    """Seconds of work per stage; the stage with the most is the bottleneck."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Add the time spent in the context to a stage."""
        begin = time.perf_counter()
        yield
        self.seconds[stage] += time.perf_counter() - begin

    @property
    def bottleneck(self) -> str:
        return max(self.seconds, key=lambda stage: self.seconds[stage])


@dataclass(frozen=True)
class HostBuffer:
    """Host memory for the encoded rows of one batch: array name → [rows of a full batch, d], pinned for a GPU.

    finite: bool [], whether a GPU has found all their values finite.
    """

    arrays: dict[str, torch.Tensor]
    finite: torch.Tensor


@dataclass(frozen=True)
class Job:
    """Encoded rows of one batch in a buffer, and where they are written."""

    buffer: HostBuffer
    rows: NDArray[np.int64]  # row numbers, in writing order
    ranges: list[RowRange]  # the shards' rows that they become
    window: WindowWriter
    computed: torch.cuda.Event | None  # on a GPU: the forward pass has ended
    copied: torch.cuda.Event | None  # on a GPU: the rows are in the buffer, and in the sums


@dataclass(frozen=True)
class Sync:
    """A request to make the rows written so far durable.

    contexts_done: all contexts before this one are written. last: the window is full. sums: those of the rows written
    so far, if a GPU takes them, which are there after the event `copied`.
    """

    window: WindowWriter
    contexts_done: int
    last: bool
    sums: Arrays | None
    copied: torch.cuda.Event | None
