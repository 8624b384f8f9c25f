"""The messages of the ranks when they meet between two steps: the report of each, and rank 0's decision for all.

A report has the losses that are not finite, which a check of each step finds.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from train.output.metrics_file import Record
from train.step.sae_stack import StackEntry


@dataclass(frozen=True)
class Divergence:
    """A loss or parameter that is not finite after `step` steps, in a layer (index into the experiment's hooks)."""

    step: int
    layer: int
    run: str


@dataclass(frozen=True)
class LossCheck:
    """The check whether a stack's losses are finite, queued with a step and read during the next one.

    A GPU works through its queue in order, so a check that is queued later waits for the steps queued before it.

    finite: bool [n] on the host, complete after the event `arrived`, if any.
    """

    step: int
    entries: Sequence[StackEntry]
    finite: Tensor
    arrived: torch.cuda.Event | None

    @classmethod
    def queue(cls, step: int, entries: Sequence[StackEntry], losses: Tensor) -> LossCheck:
        """Queue the check of losses [n] on the current stream."""
        finite = losses.isfinite().to("cpu", non_blocking=True)
        arrived = torch.cuda.current_stream(losses.device).record_event() if losses.is_cuda else None
        return cls(step, entries, finite, arrived)

    def divergences(self) -> list[Divergence]:
        """Wait for the step, and return its losses that are not finite."""
        if self.arrived is not None:
            self.arrived.synchronize()
        return [
            Divergence(self.step, entry.layer, entry.run.name)
            for entry, is_finite in zip(self.entries, self.finite.tolist(), strict=True)
            if not is_finite
        ]


@dataclass(frozen=True)
class Report:
    """The report of a rank when the ranks meet: its new records and divergences, and whether it was asked to stop."""

    records: list[tuple[str, Record]]
    divergences: list[Divergence]
    stopping: bool


@dataclass(frozen=True)
class Decision:
    """The decision of rank 0 when the ranks meet, which all of them carry out.

    diverged: the runs to drop, each with its first divergence.
    stop, save: whether to stop, and whether to save after the pending tasks.
    next_meeting: the step after which the ranks meet at the latest.
    """

    diverged: list[Divergence]
    stop: bool
    save: bool
    next_meeting: int


START = Decision(diverged=[], stop=False, save=False, next_meeting=0)  # before the first meeting


def decide(reports: Sequence[Report], dropped: Collection[str], *, save: bool, next_meeting: int) -> Decision:
    """Return the decision on all ranks' reports; `dropped` names the runs that have diverged before.

    A run diverged at the first step that is reported for it, and in the first layer of that step.
    """
    first: dict[str, Divergence] = {}
    reported = [divergence for report in reports for divergence in report.divergences]
    for divergence in sorted(reported, key=lambda divergence: (divergence.step, divergence.layer)):
        if divergence.run not in dropped:
            first.setdefault(divergence.run, divergence)
    return Decision(list(first.values()), any(report.stopping for report in reports), save, next_meeting)
