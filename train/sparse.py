"""Feature activations as the list of active (row, feature) pairs, and their products; see features.py.

With L0 active features in a row the products cost L0/d_sae of the dense ones. Kernels are PyTorch's: the weighted sums
of `embedding_bag`, and products of matrices in compressed rows (CSR).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from train.sae import SAE

warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")  # we use two of its products, tested

WORD = 8  # bytes of a mask that are looked at at once


@dataclass(frozen=True)
class Pairs:
    """Active pairs of [n_rows, d_sae], in the order of rows: row and feature int64 [pairs]."""

    row: Tensor
    feature: Tensor
    n_rows: int
    d_sae: int

    @classmethod
    def of(cls, active: Tensor) -> Pairs:
        """From a mask, bool [n_rows, d_sae]."""
        n_rows, d_sae = active.shape
        place = places(active.reshape(-1))
        row = torch.div(place, d_sae, rounding_mode="floor")
        return cls(row, place - row * d_sae, n_rows, d_sae)

    @cached_property
    def row_begins(self) -> Tensor:
        """Where each row's pairs begin, and the end of the last: int64 [n_rows + 1]."""
        return _begins(torch.bincount(self.row, minlength=self.n_rows))

    @cached_property
    def counts(self) -> Tensor:
        """How many pairs each feature has: int64 [d_sae]."""
        return torch.bincount(self.feature, minlength=self.d_sae)

    @cached_property
    def by_feature(self) -> tuple[Tensor, Tensor, Tensor]:
        """The pairs in the order of features: their indices, their rows, and where each feature's begin."""
        order = torch.sort(self.feature, stable=True).indices
        return order, self.row[order], _begins(self.counts)


@dataclass(frozen=True)
class SparseFeatures:
    """c of one SAE (k = 1): its pairs, and values [pairs]."""

    pairs: Pairs
    values: Tensor

    @classmethod
    def of(cls, sae: SAE, pre: Tensor, active: Tensor) -> SparseFeatures:
        """From gated pre-activations [n_rows, d_sae] and where they are above 0."""
        pairs = Pairs.of(active)
        return cls(pairs, sae.activate(pre[pairs.row, pairs.feature]))

    def l1(self) -> Tensor:
        return self.values.new_zeros(1, self.pairs.n_rows).index_add_(1, self.pairs.row, self.values[None])

    def fires(self) -> Tensor:
        return self.pairs.counts[None]

    def decode(self, W_dec: Tensor) -> Tensor:
        begins, feature = self.pairs.row_begins, self.pairs.feature
        return embedding_bag(
            feature, W_dec[0], begins, mode="sum", per_sample_weights=self.values, include_last_offset=True
        )[None]

    def add_outer_(self, total: Tensor, rows: Tensor, *, first: bool) -> None:
        order, row, begins = self.pairs.by_feature
        size = (self.pairs.d_sae, self.pairs.n_rows)
        matrix = torch.sparse_csr_tensor(begins, row, self.values[order], size, check_invariants=False)
        torch.addmm(total[0], matrix, rows[0], beta=0 if first else 1, out=total[0])

    def add_sum_(self, total: Tensor) -> None:
        total[0].index_add_(0, self.pairs.feature, self.values)

    def backward(self, sae: SAE, outer: Tensor, W_dec: Tensor, sparsity: Tensor) -> SparseFeatures:
        """∂L/∂c on the pairs alone: a sampled dense-dense product."""
        pairs = self.pairs
        size = (pairs.n_rows, pairs.d_sae)
        wanted = torch.sparse_csr_tensor(
            pairs.row_begins, pairs.feature, sparsity[0][pairs.row], size, check_invariants=False
        )
        gradient = torch.sparse.sampled_addmm(wanted, outer[0], W_dec[0].mT)
        return SparseFeatures(pairs, sae.activation_backward(gradient.values(), self.values, out=self.values))


def places(mask: Tensor) -> Tensor:
    """Where a mask, bool [n], is set: int64, ascending. As `nonzero`, but a word at a time, for a mask mostly unset."""
    if not mask.numel() or mask.numel() % WORD or mask.storage_offset() % WORD:
        return torch.nonzero(mask)[:, 0]
    words = torch.nonzero(mask.view(torch.int64))[:, 0]
    within = torch.nonzero(mask.view(-1, WORD)[words])
    return words[within[:, 0]] * WORD + within[:, 1]


def _begins(counts: Tensor) -> Tensor:
    """Where each run of so many begins, and the end of the last: int64 [n] → [n + 1]."""
    begins = counts.new_zeros(len(counts) + 1)
    torch.cumsum(counts, dim=0, out=begins[1:])
    return begins
