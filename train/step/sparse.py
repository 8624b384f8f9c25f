"""Feature activations as the list of active (row, feature) pairs, and their products; see features.py.

With L0 active features in a row the products cost L0/d_sae of the dense ones. The pairs of a stack of SAEs are one
list, rows and features being counted through the stack, so that a product of all is one call.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import ModuleType

import torch
from torch import Tensor

from train.sae import SAE
from train.step import pair_products

WORD = 8  # bytes that are looked at at once


@dataclass(frozen=True)
class Pairs:
    """Active pairs of [k, n_rows, d_sae], in the order of SAEs and rows.

    row int64 [pairs], in 0 … k · n_rows; feature int64 [pairs], in 0 … k · d_sae; counts int64 [k · d_sae]: how many
    pairs each feature has.
    """

    row: Tensor
    feature: Tensor
    counts: Tensor
    k: int
    n_rows: int

    @classmethod
    def of(cls, place: Tensor, counts: Tensor, n_rows: int) -> Pairs:
        """From their places in [k, n_rows, d_sae], ascending: int64 [pairs]; and the features' counts [k, d_sae]."""
        k, d_sae = counts.shape
        row = torch.div(place, d_sae, rounding_mode="floor")
        feature = place - row * d_sae
        if k > 1:
            feature += torch.div(row, n_rows, rounding_mode="floor") * d_sae
        return cls(row, feature, counts.flatten(), k, n_rows)

    @cached_property
    def row_begins(self) -> Tensor:
        """Where each row's pairs begin, and the end of the last: int64 [k · n_rows + 1]."""
        return torch.searchsorted(self.row, torch.arange(self.k * self.n_rows + 1, device=self.row.device))

    @cached_property
    def by_feature(self) -> tuple[Tensor, Tensor, Tensor]:
        """The pairs in the order of features: their indices, their rows, and where each feature's begin."""
        order = torch.sort(self.feature, stable=True).indices
        return order, self.row.index_select(0, order), _begins(self.counts)


@dataclass(frozen=True)
class SparseFeatures:
    """c of k SAEs: its pairs, and values [pairs], float32 at least; and ∂c/∂pre, where they do not tell it."""

    pairs: Pairs
    values: Tensor
    slope: Tensor | None = None

    @classmethod
    def of(cls, sae: SAE, pre: Tensor, active: Tensor, fires: Tensor) -> SparseFeatures:
        """From gated pre-activations [k, n_rows, d_sae], where they are above 0, and in how many rows [k, d_sae]."""
        place = places(active.reshape(-1))
        values = pre.reshape(-1).index_select(0, place)  # indexing takes half as long again, here and below
        values = values.to(torch.promote_types(values.dtype, torch.float32))
        return cls(Pairs.of(place, fires, pre.shape[1]), sae.activate(values))

    def l1(self) -> Tensor:
        return _sums(self.values, self.pairs.row_begins).view(self.pairs.k, -1)

    def decode(self, W_dec: Tensor) -> Tensor:
        begins, feature = self.pairs.row_begins, self.pairs.feature
        found = products(W_dec).weighted_sums(begins, feature, self.values, W_dec.flatten(0, 1))
        return found.view(self.pairs.k, self.pairs.n_rows, -1)

    def add_outer_(self, total: Tensor, rows: Tensor, *, first: bool) -> None:
        _add_outer_(self.pairs, self._by_feature, total, rows, first=first)

    def backward(self, sae: SAE, outer: Tensor, W_dec: Tensor, sparsity: Tensor) -> SparseGradient:
        """∂L/∂pre on the pairs alone, in the order of features: a row of W_dec is fetched once for all."""
        order, row, begins = self.pairs.by_feature
        bias = sparsity.flatten().to(self.values.dtype)
        gradient = products(outer).dots(begins, row, W_dec.flatten(0, 1), outer.flatten(0, 1), bias)
        if self.slope is None:
            return SparseGradient(self.pairs, sae.activation_backward(gradient, self._by_feature, out=self._by_feature))
        return SparseGradient(self.pairs, gradient.mul_(self.slope[order]))

    @cached_property
    def _by_feature(self) -> Tensor:
        """The values in the order of features."""
        return self.values.index_select(0, self.pairs.by_feature[0])


@dataclass(frozen=True)
class SparseGradient:
    """A gradient along the pre-activations of pairs: values [pairs], in the order of features."""

    pairs: Pairs
    values: Tensor

    def add_outer_(self, total: Tensor, rows: Tensor, *, first: bool) -> None:
        _add_outer_(self.pairs, self.values, total, rows, first=first)

    def add_sum_(self, total: Tensor) -> None:
        total.add_(_sums(self.values, self.pairs.by_feature[2]).view_as(total))


def products(tensor: Tensor) -> ModuleType:
    """The products on pairs for the device that a tensor is on."""
    if tensor.is_cuda:
        from train.step.gpu import pair_kernels

        return pair_kernels
    return pair_products


def _add_outer_(pairs: Pairs, values: Tensor, total: Tensor, rows: Tensor, *, first: bool) -> None:
    _, row, begins = pairs.by_feature
    flat = total.view(-1, total.shape[-1])
    products(total).add_weighted_sums_(flat, begins, row, values, rows.flatten(0, 1), first=first)


def _sums(values: Tensor, begins: Tensor) -> Tensor:
    return torch.segment_reduce(values, "sum", offsets=begins, initial=0)


def places(entries: Tensor) -> Tensor:
    """Where entries [n] are not 0: int64, ascending. As `nonzero`, but by words, for entries that mostly are 0."""
    size = WORD // entries.itemsize
    if not entries.numel() or entries.numel() % size or entries.storage_offset() % size:
        return torch.nonzero(entries)[:, 0]
    words = entries.view(torch.int64)
    found = torch.nonzero(words)[:, 0]
    within = torch.nonzero(words.index_select(0, found).view(entries.dtype))[:, 0]  # counted through the words found
    word = torch.div(within, size, rounding_mode="floor")
    return found.index_select(0, word).sub_(word).mul_(size).add_(within)


def _begins(counts: Tensor) -> Tensor:
    """Where each run of so many begins, and the end of the last: int64 [n] → [n + 1]."""
    begins = counts.new_zeros(len(counts) + 1)
    torch.cumsum(counts, dim=0, out=begins[1:])
    return begins
