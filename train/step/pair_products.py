"""Products on active pairs for CPUs, by PyTorch's kernels; pair_kernels.py has the same for GPUs.

Pairs stand in segments, those of a row (or of a feature) together: segment i has the pairs begins[i] … begins[i + 1],
and `index` [pairs] names each one's partner, a row of `source`.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")  # we use two of its products, tested


def weighted_sums(begins: Tensor, index: Tensor, weights: Tensor, source: Tensor) -> Tensor:
    """[n, d]: Σ weights[p] · source[index[p]] over the pairs p of segment i.

    begins int64 [n + 1], index int64 [pairs], weights [pairs], source [m, d].
    """
    # Twice as fast as the product below where segments are long, as a row's are; where short, a quarter as fast.
    return embedding_bag(index, source, begins, mode="sum", per_sample_weights=weights, include_last_offset=True)


def add_weighted_sums_(
    total: Tensor, begins: Tensor, index: Tensor, weights: Tensor, source: Tensor, *, first: bool
) -> None:
    """The same, added to total [n, d], or if `first` written over it."""
    matrix = _csr(begins, index, weights, source.shape[0])
    torch.addmm(total, matrix, source, beta=0 if first else 1, out=total)


def dots(begins: Tensor, index: Tensor, rows: Tensor, source: Tensor, bias: Tensor) -> Tensor:
    """[pairs]: rows[i] · source[index[p]] + bias[index[p]] for each pair p of segment i.

    begins int64 [n + 1], index int64 [pairs], rows [n, d], source [m, d], bias [m].
    """
    matrix = _csr(begins, index, bias.index_select(0, index), source.shape[0])
    return torch.sparse.sampled_addmm(matrix, rows, source.mT).values()


def _csr(begins: Tensor, index: Tensor, values: Tensor, width: int) -> Tensor:
    size = (len(begins) - 1, width)
    return torch.sparse_csr_tensor(begins, index, values, size, check_invariants=False)
