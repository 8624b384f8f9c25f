"""Feature activations of a block of rows, in the two forms a step computes with: all of them, or the active ones alone.

Encoding is dense either way. After it, a feature that is off passes on nothing: where few are on, everything else is
done on the active (row, feature) pairs (sparse.py), else on whole matrices (dense.py). Both give the same sums in
another order, so the choice, made for each SAE and block by what is counted in it, shows in the rounding alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Protocol

from torch import Tensor

from train.sae import SAE

DENSITIES = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032)  # of which one is chosen on a GPU (tune_density.py)
CPU_MAX_SPARSE_DENSITY = 0.075  # share of active pairs at which both cost the same (benchmarks/train_step.py --density)


class Gradient(Protocol):
    """What is asked of a gradient along the pre-activations of k SAEs on some rows: 0 where a feature is off."""

    def add_outer_(self, total: Tensor, rows: Tensor, *, first: bool) -> None:
        """total += gᵀ rows, of total [k, d_sae, d_model] and rows [k, rows, d_model]; if `first`, total = gᵀ rows."""

    def add_sum_(self, total: Tensor) -> None:
        """total += Σ g over the rows, of total [k, d_sae]."""


class Features(Protocol):
    """What is asked of c, of k SAEs on some rows."""

    def l1(self) -> Tensor:
        """‖c‖₁: [k, rows]."""

    def decode(self, W_dec: Tensor) -> Tensor:
        """c W_dec: [k, rows, d_model]."""

    def add_outer_(self, total: Tensor, rows: Tensor, *, first: bool) -> None:
        """total += cᵀ rows, as of a gradient."""

    def backward(self, sae: SAE, outer: Tensor, W_dec: Tensor, sparsity: Tensor) -> Gradient:
        """∂L/∂pre, from ∂L/∂x̂ = outer [k, rows, d_model] and ∂L/∂‖c‖₁ = sparsity [k, rows]; c is overwritten."""


def split_by_density(fires: Tensor, *, n_rows: int, threshold: float) -> Iterator[tuple[slice, bool]]:
    """Parts of a stack, and whether each is worked on as a matrix: up to a share of `threshold` active pairs it is not.

    fires int64 [n, d_sae]: in how many of the rows each feature fires.
    """
    limit = threshold * n_rows * fires.shape[1]
    dense = [count > limit for count in fires.sum(dim=-1).tolist()] if threshold else [True] * len(fires)
    for is_dense, several in groupby(range(len(dense)), key=dense.__getitem__):
        which = list(several)
        yield slice(which[0], which[-1] + 1), is_dense
