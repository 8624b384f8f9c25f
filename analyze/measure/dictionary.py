"""Geometry of a dictionary W_dec: norms, cosines, and the features that stand out.

    pillars       the live features with the largest decoder norms
    corrections   live features with a small norm, in (0, 0.5)
    directions    live features with another live feature at cosine ≥ 0.9 whose norm differs by a factor of ≥ 1.5

A feature is live if it fired in any held-out row (firing.py). Dead features are left out, because those of an NSAE keep
their small initial norms. Norms are in the SAE's own scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import normalize

BLOCK = 1024  # rows of the matrix of cosines computed at once
EXACT_UP_TO = 20_000  # live features. Up to this count all pairs, 200 million, are counted
COSINE_EDGES = np.linspace(-1, 1, 201)


@dataclass(frozen=True)
class Thresholds:
    """The limits that define pillars, corrections and directions.

    pillars: count of pillars.
    correction_norm: norm below which a feature is a correction.
    direction_cosine, direction_norm_ratio: smallest cosine to, and ratio of norms with, another feature.
    """

    pillars: int = 100
    correction_norm: float = 0.5
    direction_cosine: float = 0.9
    direction_norm_ratio: float = 1.5


DEFAULTS = Thresholds()


@dataclass(frozen=True)
class Kinds:
    """Numbers of the features of each kind: int64, ascending; pillars by falling norm."""

    pillars: Tensor
    corrections: Tensor
    directions: Tensor

    def overlaps(self) -> dict[str, int]:
        """Count the features that each two kinds share."""
        names = ("pillars", "corrections", "directions")
        sets = {name: set(getattr(self, name).tolist()) for name in names}
        return {f"{a} and {b}": len(sets[a] & sets[b]) for i, a in enumerate(names) for b in names[i + 1 :]}


def kinds(W_dec: Tensor, live: Tensor, thresholds: Thresholds = DEFAULTS) -> Kinds:
    """Find the features of each kind. W_dec: float32 [d_sae, d_model]. live: bool [d_sae]."""
    norms = W_dec.norm(dim=1)
    numbers = torch.nonzero(live)[:, 0]
    falling = numbers[torch.argsort(norms[numbers], descending=True, stable=True)]
    small = (norms[numbers] > 0) & (norms[numbers] < thresholds.correction_norm)
    directions = numbers[_has_longer_or_shorter_twin(W_dec[numbers], thresholds)]
    return Kinds(falling[: thresholds.pillars], numbers[small], directions)


def _has_longer_or_shorter_twin(W: Tensor, thresholds: Thresholds) -> Tensor:
    """Return whether each row of W [n, d] has another row at the cosine and norm ratio of a direction: bool [n]."""
    norms = W.norm(dim=1)
    has_twin = torch.zeros(len(W), dtype=torch.bool)
    for rows, cosines in _blocks(W):
        ratio = norms[rows, None] / norms[None]
        differs = torch.maximum(ratio, 1 / ratio) >= thresholds.direction_norm_ratio
        has_twin[rows] = ((cosines >= thresholds.direction_cosine) & differs).any(dim=1)
    return has_twin


def cosine_histogram(W_dec: Tensor, live: Tensor, *, exact_up_to: int = EXACT_UP_TO) -> NDArray[np.int64]:
    """Count the cosines of all pairs of live features, each pair once, in bins of COSINE_EDGES.

    With more than `exact_up_to` live features, count a million sampled pairs instead, as in the post.
    """
    if int(live.sum()) > exact_up_to:
        return np.histogram(sampled_cosines(W_dec, live).clamp(-1, 1).numpy(), bins=COSINE_EDGES)[0]
    counts = np.zeros(len(COSINE_EDGES) - 1, dtype=np.int64)
    for rows, cosines in _blocks(W_dec[live]):
        later = torch.triu(torch.ones_like(cosines, dtype=torch.bool), diagonal=rows.start + 1)
        counts += np.histogram(cosines[later].clamp(-1, 1).numpy(), bins=COSINE_EDGES)[0]
    return counts


def sampled_cosines(W_dec: Tensor, live: Tensor, n: int = 1_000_000, *, seed: int = 0) -> Tensor:
    """Draw n pairs of live features with repetition and return their cosines: float32 [n]; [0] with fewer than two."""
    W = normalize(W_dec[live], dim=1)
    if len(W) < 2:
        return W.new_empty(0)
    rng = np.random.default_rng(seed)
    first, shift = rng.integers(len(W), size=n), rng.integers(1, len(W), size=n)
    second = (first + shift) % len(W)
    parts = (slice(i, i + 65536) for i in range(0, n, 65536))
    return torch.cat([(W[first[part]] * W[second[part]]).sum(dim=1) for part in parts])


def nearest(W_dec: Tensor, live: Tensor, n: int = 1) -> tuple[Tensor, Tensor]:
    """Find the n live features with the largest cosine to each live feature: numbers int64 and cosines [d_sae, n].

    Entries of dead features, and entries beyond the last other live feature, are −1 and NaN.
    """
    numbers = torch.nonzero(live)[:, 0]
    near = torch.full((len(W_dec), n), -1, dtype=torch.int64)
    values = torch.full((len(W_dec), n), torch.nan)
    n_found = min(n, max(len(numbers) - 1, 0))
    for rows, cosines in _blocks(W_dec[numbers]):
        best = cosines.topk(n_found, dim=1)
        near[numbers[rows], :n_found] = numbers[best.indices]
        values[numbers[rows], :n_found] = best.values
    return near, values


def matched_cosines(first: Tensor, second: Tensor) -> NDArray[np.float64]:
    """Return the cosines of the best one-to-one matching of two dictionaries: float64 [min(n, m)].

    first, second: directions of live features, [n, d_model] and [m, d_model].
    """
    return match_directions(first, second)[2]


def match_directions(first: Tensor, second: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the best one-to-one matching of two dictionaries (Hungarian algorithm), [min(n, m)] each.

    These are indices in `first` [n, d_model], indices in `second` [m, d_model], and the cosines.
    """
    cosines = (normalize(first, dim=1) @ normalize(second, dim=1).mT).numpy()
    in_first, in_second = linear_sum_assignment(cosines, maximize=True)
    return in_first, in_second, cosines[in_first, in_second].astype(np.float64)


def _blocks(W: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield (rows, cosines [rows, n]) of blocks of rows with all rows.

    Self-similarity is set to −2, so it never counts.
    """
    unit = normalize(W, dim=1)
    for begin in range(0, len(W), BLOCK):
        rows = slice(begin, min(begin + BLOCK, len(W)))
        cosines = unit[rows] @ unit.mT
        row = torch.arange(rows.stop - rows.start)
        cosines[row, row + begin] = -2
        yield rows, cosines
