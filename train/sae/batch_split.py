"""The split of each batch among ranks that train the same SAEs, and the sums of these ranks over the whole batch.

Each rank of a split steps on a contiguous part of the batch's rows. The ranks add their gradients, counts and measures
up, so all of them make the same step. All ranks of a split call its methods in the same order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.autograd import Function

from train.ranks import group as rank_group
from train.ranks.group import Group, unreachable
from train.ranks.notes import Notes
from train.ranks.protocol import Ranks

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

CLOSED_SECONDS = 1.0  # within which a closed connection is found


class BatchSplit(Protocol):
    """The part of each batch that a rank steps on. `WHOLE` is that of a rank which steps on whole batches."""

    @property
    def leads(self) -> bool:
        """True on the first rank of the split, which alone reports."""

    @property
    def rows(self) -> slice:
        """The rows of this rank's part of a batch."""

    def batch_rows(self, rows: int) -> int:
        """Return the rows of a batch, of which `rows` are in this rank's part."""

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of the ranks' tensors, which has the same bits on all ranks."""

    def sum_(self, *tensors: Tensor) -> None:
        """Write the sums of the ranks' tensors into them."""

    def mean(self, values: Tensor, dim: int = 0) -> Tensor:
        """Return the mean over the rows of the batch, along which `dim` goes; PyTorch differentiates it."""

    def least(self, value: Tensor) -> Tensor:
        """Return the least of the ranks' numbers."""

    def total(self, number: int) -> int:
        """Return the sum of the ranks' numbers."""

    def whole(self, rows: Tensor, dim: int = 0) -> Tensor:
        """Return all rows of the batch from those of each rank's part, along which `dim` goes."""

    def largest(self, values: Tensor, n: int) -> Tensor:
        """Return the indices of those of this rank's values [m] that are among the n largest of all ranks."""

    def share_(self, tensors: Sequence[Tensor]) -> None:
        """Copy the first rank's tensors to the others."""


class Whole:
    """The split of a batch into one part."""

    leads, rows = True, slice(None)

    def batch_rows(self, rows: int) -> int:
        return rows

    def sum(self, tensor: Tensor) -> Tensor:
        return tensor

    def sum_(self, *tensors: Tensor) -> None:
        pass

    def mean(self, values: Tensor, dim: int = 0) -> Tensor:
        return values.mean(dim=dim)

    def least(self, value: Tensor) -> Tensor:
        return value

    def total(self, number: int) -> int:
        return number

    def whole(self, rows: Tensor, dim: int = 0) -> Tensor:
        return rows

    def largest(self, values: Tensor, n: int) -> Tensor:
        if len(values) <= n:
            return torch.arange(len(values), device=values.device)
        return torch.topk(values, n, sorted=False).indices

    def share_(self, tensors: Sequence[Tensor]) -> None:
        pass


WHOLE = Whole()


class SplitAmongRanks:
    """A rank's part of each batch, of parts of about equal size, one per rank of a group.

    Raises Stopped if a rank ends, or hangs; a rank that hangs is named, except under NCCL, which ends the process.
    """

    def __init__(
        self, group: ProcessGroup, members: range, rank: int, notes: Notes, *, batch_size: int, device: torch.device
    ) -> None:
        """Make the part of `rank`, which is one of the `members` of a connected group."""
        self._group, self._members, self._rank, self._notes = group, members, rank, notes
        self._others = [member for member in members if member != rank]
        self._batch_size, self._device = batch_size, device
        number, size = members.index(rank), len(members)
        self._number, self._size = number, size
        self.leads = number == 0
        self.rows = slice(number * batch_size // size, (number + 1) * batch_size // size)
        self._fraction = (self.rows.stop - self.rows.start) / batch_size

    def batch_rows(self, rows: int) -> int:
        return self._batch_size

    def sum(self, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        self.sum_(total)
        return total

    def sum_(self, *tensors: Tensor) -> None:
        self._run(torch.distributed.all_reduce, tensors)

    def mean(self, values: Tensor, dim: int = 0) -> Tensor:
        return summed(values.mean(dim=dim) * self._fraction, self)

    def least(self, value: Tensor) -> Tensor:
        least = value.clone()
        self._run(torch.distributed.all_reduce, [least], op=torch.distributed.ReduceOp.MIN)
        return least

    def total(self, number: int) -> int:
        return int(self.sum(torch.tensor(number, device=self._device)))

    def whole(self, rows: Tensor, dim: int = 0) -> Tensor:
        shape = [*rows.shape[:dim], self._batch_size, *rows.shape[dim + 1 :]]
        whole = rows.new_zeros(shape)
        whole.narrow(dim, self.rows.start, rows.shape[dim]).copy_(rows)
        self.sum_(whole)  # each row is added to zeros alone, so it keeps its bits
        return whole

    def largest(self, values: Tensor, n: int) -> Tensor:
        of_part = torch.topk(values, min(n, len(values)), sorted=False)
        candidates = values.new_zeros(self._size, n)
        candidates[self._number] = -torch.inf
        candidates[self._number, : len(of_part.values)] = of_part.values
        self.sum_(candidates)
        index = torch.topk(candidates.view(-1), n, sorted=False).indices - self._number * n
        return of_part.indices[index[(index >= 0) & (index < len(of_part.indices))]]

    def share_(self, tensors: Sequence[Tensor]) -> None:
        self._run(torch.distributed.broadcast, tensors, group_src=0)

    def _run(self, operation: Callable[..., Any], tensors: Sequence[Tensor], **options: Any) -> None:
        """Run an operation of all ranks of the group on contiguous tensors, at the same time."""
        begin = time.monotonic()
        try:
            for work in [operation(tensor, group=self._group, async_op=True, **options) for tensor in tensors]:
                self._wait(work)
        except RuntimeError as error:
            if not self._notes.written:
                raise self._notes.lost(self._ended()) from error
            missing = self._notes.missing(self._rank) or self._others
            raise self._notes.lost(missing, time.monotonic() - begin) from error

    def _ended(self) -> list[int]:
        """Return those of the others that have ended; all of them if that cannot be told."""
        return [member for member in self._others if has_ended(member)] or self._others

    def _wait(self, work: Any) -> None:
        """Wait for an operation; leave a note while that takes long."""
        if self._device.type == "cuda":  # NCCL's operations are waited for on the GPU
            work.wait()
            return
        try:
            work.wait(timedelta(seconds=rank_group.HANG_SECONDS / 2))
        except RuntimeError:
            if work.is_completed():  # it has failed
                raise
            self._notes.write(self._members)
            work.wait()
            self._notes.remove()


def has_ended(rank: int) -> bool:
    """Return whether the connection with a rank is closed; this one may receive nothing from it afterwards."""
    try:
        work: Any = torch.distributed.irecv(torch.zeros(1, dtype=torch.int64), rank)
        work.wait(timedelta(seconds=CLOSED_SECONDS))
    except RuntimeError as error:
        return "timed out" not in str(error).lower()
    return False


class _Sum(Function):
    """The sum over the ranks. Each rank differentiates its own summand; the gradients are summed later."""

    @staticmethod
    def forward(ctx: Any, summand: Tensor, split: BatchSplit) -> Tensor:
        return split.sum(summand)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        return g, None


summed: Callable[..., Tensor] = _Sum.apply


def split_among(groups: Sequence[range], processes: Ranks, *, batch_size: int, device: torch.device) -> BatchSplit:
    """Connect the ranks of each group, and return the split of this rank's batches; all ranks call it together.

    groups: the ranks that train the same SAEs; none if each rank has SAEs of its own. Raises Stopped if a rank of a
    group cannot be reached.
    """
    split: BatchSplit = WHOLE
    if not isinstance(processes, Group):
        return split
    rank = processes.place.rank
    for group in groups:
        if len(group) == 1:
            continue
        backend, limit = "nccl" if device.type == "cuda" else "gloo", timedelta(seconds=_hang_seconds())
        try:
            connected = torch.distributed.new_group(list(group), backend=backend, timeout=limit)
        except RuntimeError as error:
            raise unreachable(rank, error) from error
        if rank in group:
            split = SplitAmongRanks(connected, group, rank, processes.notes, batch_size=batch_size, device=device)
    return split


def _hang_seconds() -> float:
    """Return after how long without an answer a rank counts as hanging: longer than rank 0 waits for it at a meeting.

    Meanwhile rank 0 may wait for a rank of another group, which it then names.
    """
    return 2 * rank_group.HANG_SECONDS
