"""Compare an SAE with the truth of a store: the features that its activations are sums of.

The decoder's rows and the true directions are compared by |cosine|. The best one-to-one matching maximises the sum of
the pairs' |cosine| (MCC: Song et al. 2025, arXiv 2505.20254; SynthSAEBench, arXiv 2602.14687).
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import normalize

from analyze.statistics.jackknife import Float
from train.measures import TRUTH, compute

ALIKE = 0.9  # cosine from which on a feature counts as a true one
BLOCK = 1024  # features compared at once


@dataclass(frozen=True)
class Matching:
    """The assignment of an SAE's features to true features. Cosines are absolute.

    nearest: int64 [d_sae], the true feature with the largest cosine to each feature.
    partner: int64 [d_sae], each feature's true feature in the best one-to-one matching; −1 without one.
    n_pairs, cosine: the pairs of that matching, and the sum of their cosines.
    """

    nearest: Tensor
    partner: Tensor
    n_pairs: int
    cosine: float


def match(W_dec: Tensor, directions: Tensor) -> Matching:
    """Match the decoder's rows, float32 [d_sae, d_model], with true directions, float32 [n_features, d_model].

    Takes memory for the float64 matrix [d_sae, n_features] of cosines.
    """
    cosines = (normalize(W_dec.double(), dim=1) @ normalize(directions.double(), dim=1).T).abs()
    rows, columns = linear_sum_assignment(cosines.numpy(), maximize=True)
    partner = torch.full((len(W_dec),), -1)
    partner[torch.from_numpy(rows)] = torch.from_numpy(columns)
    return Matching(cosines.argmax(dim=1), partner, len(rows), float(cosines[rows, columns].sum()))


@dataclass(frozen=True)
class TruthSums:
    """Sums that compare an SAE with a store's truth, of which the measures are ratios (train/measures.py).

    A feature is live if it fires in one of the rows.

    n_features, recovered: true features, and those with a live feature at a cosine of at least 0.9.
    largest_cosine: the sum over true features of the largest cosine to a live feature.
    live, false: live features, and those without a true feature at a cosine of at least 0.9.
    n_pairs, cosine: the pairs of the best matching, and the sum of their absolute cosines.
    f1_matched: the sum over these pairs of the F1 of the feature's firing against the true feature's.
    d_sae, f1: features, and the sum of the F1 of each one's firing against its nearest true feature's.
    firings, true_firings: numbers of pairs of a row and a feature that fires in it.
    """

    n_features: float
    recovered: float
    largest_cosine: float
    live: float
    false: float
    n_pairs: float
    cosine: float
    f1_matched: float
    d_sae: float
    f1: float
    firings: float
    true_firings: float

    @classmethod
    def of_array(cls, values: Float) -> TruthSums:
        """Return the sums with an array's values, float64 [12]."""
        return cls(**dict(zip((field.name for field in fields(cls)), values, strict=True)))

    def array(self) -> Float:
        """Return the sums as float64 [12]."""
        return np.array(astuple(self), dtype=np.float64)

    def measures(self) -> dict[str, Float]:
        """Return the measures by name; NaN where one is undefined, as some are without live features."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return compute(TRUTH.values(), TruthSums.of_array(self.array()))  # NumPy's numbers: 0 / 0 is NaN


class TruthCounts:
    """Counts, over rows, how often the features of an SAE and true features fire together.

    together_nearest, together_partner: int64 [d_sae], with the nearest true feature and with the partner.
    """

    def __init__(self, matching: Matching) -> None:
        self.matching = matching
        self.nearest, self.partner = matching.nearest, matching.partner.clamp(min=0)
        self.together_nearest, self.together_partner = (torch.zeros(len(self.nearest), dtype=torch.int64) for _ in "12")

    def add(self, fires: Tensor, true_fires: Tensor) -> None:
        """Add rows: which features fire, bool [n, d_sae], and which true features, bool [n, n_features], on the CPU."""
        self.together_nearest += (fires & true_fires[:, self.nearest]).sum(dim=0)
        self.together_partner += (fires & true_fires[:, self.partner]).sum(dim=0)

    def sums(self, W_dec: Tensor, directions: Tensor, fires: Tensor, true_fires: Tensor) -> TruthSums:
        """Return the sums. fires, true_fires: int64 [d_sae] and [n_features], the rows in which each feature fires."""
        live = fires > 0
        of_true, of_live = largest_cosines(W_dec[live], directions)
        matched = self.matching.partner >= 0
        return TruthSums(
            n_features=len(directions),
            recovered=int((of_true >= ALIKE).sum()),
            largest_cosine=float(of_true.sum()),
            live=int(live.sum()),
            false=int((of_live < ALIKE).sum()),
            n_pairs=self.matching.n_pairs,
            cosine=self.matching.cosine,
            f1_matched=float(f1(self.together_partner, fires, true_fires[self.partner])[matched].sum()),
            d_sae=len(fires),
            f1=float(f1(self.together_nearest, fires, true_fires[self.nearest]).sum()),
            firings=int(fires.sum()),
            true_firings=int(true_fires.sum()),
        )


def f1(together: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return the F1 2 TP / (n₁ + n₂) of two indicators from counts, int64 [n] each: float64 [n]; 0 if neither fires."""
    return 2 * together.double() / (first + second).clamp(min=1)


def largest_cosines(W: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Return each true feature's largest cosine to a row of W [n, d_model], and each row's: float64; 0 without rows."""
    rows, truth = normalize(W.double(), dim=1), normalize(directions.double(), dim=1)
    of_true, of_rows = torch.zeros(len(truth), dtype=torch.float64), torch.zeros(len(rows), dtype=torch.float64)
    for begin in range(0, len(rows), BLOCK):
        cosines = rows[begin : begin + BLOCK] @ truth.T
        of_rows[begin : begin + BLOCK] = cosines.amax(dim=1)
        of_true = torch.maximum(of_true, cosines.amax(dim=0))
    return of_true, of_rows
