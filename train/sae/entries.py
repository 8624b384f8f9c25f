"""The entries of pre-activations that a loss is written on: all of a matrix, or (row, feature) pairs of it.

A loss written with these methods is computed on whole matrices by its definition (`DenseRows`), and on the selected
pairs alone by the sparse step (train/step/pair_entries.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, Self

from torch import Tensor

from train.sae.batch_split import BatchSplit
from train.sae.selection import Selection, mask_of


class Entries(Protocol):
    """Entries of pre-activations [rows, d_sae] of one SAE. Tensors "of entries" have the shape of `pre`.

    pre: the pre-activations, which PyTorch differentiates.
    """

    @property
    def pre(self) -> Tensor: ...

    def spread(self, per_feature: Tensor) -> Tensor:
        """Return a number per feature [d_sae] as a tensor of entries, or one that broadcasts to it."""

    def row_sums(self, values: Tensor) -> Tensor:
        """Sum over the features of each row: [rows]."""

    def decode(self, values: Tensor, W_dec: Tensor) -> Tensor:
        """Return values W_dec, [rows, d_model]."""

    def counts(self, values: Tensor) -> Tensor:
        """Count the rows in which each feature is not 0: int64 [d_sae]."""

    def among(self, values: Tensor, begin: int, end: int) -> tuple[Self, Tensor]:
        """Return the entries of the features begin … end − 1, and their part of `values`."""


@dataclass(frozen=True)
class DenseEntries:
    """All entries: pre [rows, d_sae], which is 0 where a selection masks it. features: those of its columns."""

    pre: Tensor
    features: slice

    @classmethod
    def of(cls, pre: Tensor) -> DenseEntries:
        return cls(pre, slice(0, pre.shape[1]))

    def spread(self, per_feature: Tensor) -> Tensor:
        return per_feature[self.features]

    def row_sums(self, values: Tensor) -> Tensor:
        return values.sum(dim=-1)

    def decode(self, values: Tensor, W_dec: Tensor) -> Tensor:
        return values @ W_dec[self.features]

    def counts(self, values: Tensor) -> Tensor:
        return (values.detach() != 0).sum(dim=0)

    def among(self, values: Tensor, begin: int, end: int) -> tuple[DenseEntries, Tensor]:
        return replace(self, pre=self.pre[:, begin:end], features=slice(begin, end)), values[:, begin:end]


class PreActivations(Protocol):
    """The pre-activations of some rows, of which a loss selects the entries that it needs."""

    def select(self, selection: Selection) -> Entries:
        """Return the selected entries."""


@dataclass(frozen=True)
class DenseRows:
    """Pre-activations [rows, d_sae] as a matrix, of a batch of `batch_rows` rows or of a part of it."""

    pre: Tensor
    batch_rows: int
    split: BatchSplit

    def select(self, selection: Selection) -> DenseEntries:
        if not selection.masks:
            return DenseEntries.of(self.pre)
        return DenseEntries.of(self.pre * mask_of(selection, self.pre.detach(), self.batch_rows, self.split))
