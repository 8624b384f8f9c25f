"""Products on active (row, feature) pairs by PyTorch's CPU kernels; gpu/pair_kernels.py has the same for GPUs.

Pairs are grouped in segments, one per row or one per feature: segment i has the pairs begins[i] … begins[i + 1] − 1.
`index` [pairs] gives each pair's partner, a row of `source`.
"""

from __future__ import annotations

import warnings
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")  # we use two of its products, tested


class PairProducts(Protocol):
    """The three products, as this module and pair_kernels have them.

    begins int64 [n + 1], index int64 [pairs], weights [pairs], source [m, d].
    """

    def weighted_sums(self, begins: Tensor, index: Tensor, weights: Tensor, source: Tensor) -> Tensor:
        """Return Σ weights[p] · source[index[p]] over the pairs p of each segment: [n, d]."""

    def add_weighted_sums_(
        self, total: Tensor, begins: Tensor, index: Tensor, weights: Tensor, source: Tensor, *, first: bool
    ) -> None:
        """Add the weighted sums to total [n, d], or if `first` write them there."""

    def dots(self, begins: Tensor, index: Tensor, rows: Tensor, source: Tensor, bias: Tensor) -> Tensor:
        """Return rows[i] · source[index[p]] + bias[index[p]] for each pair p of segment i: [pairs].

        rows [n, d], bias [m].
        """


def weighted_sums(begins: Tensor, index: Tensor, weights: Tensor, source: Tensor) -> Tensor:
    # For long segments, such as a row's, twice as fast as the product below; for short ones four times as slow.
    return embedding_bag(index, source, begins, mode="sum", per_sample_weights=weights, include_last_offset=True)


def add_weighted_sums_(
    total: Tensor, begins: Tensor, index: Tensor, weights: Tensor, source: Tensor, *, first: bool
) -> None:
    matrix = _csr(begins, index, weights, source.shape[0])
    torch.addmm(total, matrix, source, beta=0 if first else 1, out=total)


def dots(begins: Tensor, index: Tensor, rows: Tensor, source: Tensor, bias: Tensor) -> Tensor:
    matrix = _csr(begins, index, bias.index_select(0, index), source.shape[0])
    return torch.sparse.sampled_addmm(matrix, rows, source.mT).values()


def _csr(begins: Tensor, index: Tensor, values: Tensor, width: int) -> Tensor:
    size = (len(begins) - 1, width)
    return torch.sparse_csr_tensor(begins, index, values, size, check_invariants=False)
