"""The selection of pre-activations that an SAE trains on: a few per row, so the step need not touch the others.

A selection yields flat positions, row · d_sae + feature, for a block of rows. The sparse step uses them directly; the
definition of a loss uses them as a mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from train.sae.batch_split import BatchSplit

WORD = 8  # bytes that flatnonzero compares at once
SAMPLED_ROWS = 16  # every how many rows a cutoff is estimated from
MARGIN = 1.3  # how many more entries than asked for an estimated cutoff lets through


class Selection(Protocol):
    """Some entries of pre-activations [rows, d_sae].

    masks: the loss treats all other entries as 0; otherwise they contribute nothing to it by themselves.
    among: the features that entries are selected from, int64 ascending; None: all.
    weight: what entries are multiplied by to compare them, above 0, per feature of `among`; None: 1.
    """

    @property
    def masks(self) -> bool: ...

    @property
    def among(self) -> Tensor | None: ...

    @property
    def weight(self) -> Tensor | None: ...

    def positions(self, pre: Tensor, floor: float) -> Tensor:
        """Return the flat positions of the selected entries of a block of rows: int64, ascending.

        pre [rows, features]: of the features `among`. Selections with a `limit` leave out entries up to `floor`.
        """

    def limit(self, rows: int) -> int | None:
        """Return how many entries of a batch are selected, the largest; None: all that `positions` gives."""

    def floor(self, pre: Tensor, split: BatchSplit) -> float:
        """Return a value that about `limit` entries of a batch exceed, and rather more, estimated from a block.

        It is the same on all ranks that split a batch.
        """


class RowSelection:
    """The part of a `Selection` that is the same for all which look at each row by itself."""

    def limit(self, rows: int) -> int | None:
        return None

    def floor(self, pre: Tensor, split: BatchSplit) -> float:
        return 0.0


@dataclass(frozen=True)
class Above(RowSelection):
    """The entries above a limit per feature: [d_sae], or one number."""

    lower: Tensor | float
    among: Tensor | None = None
    weight: Tensor | None = None
    masks: bool = False

    def positions(self, pre: Tensor, floor: float) -> Tensor:
        return flatnonzero((pre > self.lower).view(-1))


@dataclass(frozen=True)
class LargestOfRow(RowSelection):
    """The k largest entries of each row; if `positive`, those of them that are above 0."""

    k: int
    among: Tensor | None = None
    weight: Tensor | None = None
    masks: bool = True
    positive: bool = True

    def positions(self, pre: Tensor, floor: float) -> Tensor:
        values, feature = torch.topk(weighted(pre, self.weight), min(self.k, pre.shape[1]), dim=1, sorted=False)
        rows = torch.arange(len(pre), device=pre.device)[:, None]
        position = feature + rows * pre.shape[1]
        return torch.sort(position[values > 0] if self.positive else position.view(-1)).values


@dataclass(frozen=True)
class LargestOfBatch:
    """The k · rows largest positive entries of a batch."""

    k: float
    among: Tensor | None = None
    weight: Tensor | None = None
    masks: bool = True

    def positions(self, pre: Tensor, floor: float) -> Tensor:
        return flatnonzero((weighted(pre, self.weight) > floor).view(-1))

    def limit(self, rows: int) -> int:
        return round(self.k * rows)

    def floor(self, pre: Tensor, split: BatchSplit) -> float:
        sample = weighted(pre[::SAMPLED_ROWS], self.weight).reshape(-1)
        rank = min(int(MARGIN * self.k * len(pre[::SAMPLED_ROWS])) + 1, len(sample))
        estimate = torch.kthvalue(sample, len(sample) - rank + 1).values
        return max(float(split.mean(estimate[None])), 0.0)


def weighted(pre: Tensor, weight: Tensor | None) -> Tensor:
    """Return what entries of pre [rows, features] are compared by, from a `Selection`'s weight."""
    return pre if weight is None else pre * weight.to(pre.dtype)


def largest(
    selection: Selection, values: Tensor, position: Tensor, n: int, n_features: int, split: BatchSplit
) -> Tensor:
    """Return the indices of those values that are among the n largest of a batch: int64, ascending.

    position: flat positions of the values, among n_features per row. split: how ranks split the batch.
    """
    if selection.weight is not None:
        values = values * selection.weight.to(values.dtype)[position % n_features]
    return torch.sort(split.largest(values, n)).values


def mask_of(selection: Selection, pre: Tensor, batch_rows: int, split: BatchSplit) -> Tensor:
    """Return the selected entries of a batch, or of a part of it, as a mask: bool [rows, d_sae]."""
    inside = pre if selection.among is None else pre.index_select(1, selection.among)
    position = selection.positions(inside, 0.0)
    limit = selection.limit(batch_rows)
    if limit is not None:
        values = inside.reshape(-1)[position]
        position = position[largest(selection, values, position, limit, inside.shape[1], split)]
    chosen = torch.zeros(inside.numel(), dtype=torch.bool, device=pre.device)
    chosen[position] = True
    if selection.among is None:
        return chosen.view_as(pre)
    mask = torch.zeros_like(pre, dtype=torch.bool)
    mask[:, selection.among] = chosen.view_as(inside)
    return mask


def flatnonzero(entries: Tensor) -> Tensor:
    """Return the indices of nonzero entries, int64, ascending: as `nonzero` of entries [n], faster if most are 0.

    Whole words are tested first, and then the entries of the words that are not 0.
    """
    size = WORD // entries.itemsize
    if not entries.numel() or entries.numel() % size or entries.storage_offset() % size:
        return torch.nonzero(entries)[:, 0]
    words = entries.view(torch.int64)
    nonzero_words = torch.nonzero(words)[:, 0]
    index = torch.nonzero(words.index_select(0, nonzero_words).view(entries.dtype))[:, 0]  # among these words' entries
    rank = torch.div(index, size, rounding_mode="floor")
    return nonzero_words.index_select(0, rank).sub_(rank).mul_(size).add_(index)
