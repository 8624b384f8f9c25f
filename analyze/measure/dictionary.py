"""What a dictionary looks like: its directions' norms, how alike they are, and features that stand out.

    pillars       the live features of largest decoder norm
    corrections   live features of a small norm, in (0, 0.5)
    directions    live features with another live one at cosine ≥ 0.9 whose norm differs by a factor of 1.5 or more

A feature is live if it fired at all in the rows that it was judged by. Dead features are apart: those of an NSAE keep
the small norms that they started with. Norms are in the SAE's own scale.

Pure arithmetic on W_dec. Not here: which features are live (evaluate.py), figures (figures.py).
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

BLOCK = 1024  # rows of a matrix of cosines at once
EXACT_UP_TO = 20_000  # live features of which all pairs are counted, 200 million of them
COSINE_EDGES = np.linspace(-1, 1, 201)


@dataclass(frozen=True)
class Thresholds:
    """See the module."""

    pillars: int = 100
    correction_norm: float = 0.5
    direction_cosine: float = 0.9
    direction_norm_ratio: float = 1.5


DEFAULTS = Thresholds()


@dataclass(frozen=True)
class Kinds:
    """Numbers of the features of each kind, int64, ascending (pillars by falling norm)."""

    pillars: Tensor
    corrections: Tensor
    directions: Tensor

    def overlaps(self) -> dict[str, int]:
        """How many features two kinds share."""
        names = ("pillars", "corrections", "directions")
        sets = {name: set(getattr(self, name).tolist()) for name in names}
        return {f"{a} and {b}": len(sets[a] & sets[b]) for i, a in enumerate(names) for b in names[i + 1 :]}


def kinds(W_dec: Tensor, live: Tensor, thresholds: Thresholds = DEFAULTS) -> Kinds:
    """Sort out the features of W_dec [d_sae, d_model], of which `live` (bool [d_sae]) count."""
    norms = W_dec.norm(dim=1)
    numbers = torch.nonzero(live)[:, 0]
    falling = numbers[torch.argsort(norms[numbers], descending=True, stable=True)]
    small = (norms[numbers] > 0) & (norms[numbers] < thresholds.correction_norm)
    directions = numbers[_has_longer_or_shorter_twin(W_dec[numbers], thresholds)]
    return Kinds(falling[: thresholds.pillars], numbers[small], directions)


def _has_longer_or_shorter_twin(W: Tensor, thresholds: Thresholds) -> Tensor:
    """Whether a row [n, d] has another at that cosine whose norm differs by that factor: bool [n]."""
    norms = W.norm(dim=1)
    found = torch.zeros(len(W), dtype=torch.bool)
    for rows, cosines in _blocks(W):
        ratio = norms[rows, None] / norms[None]
        differs = torch.maximum(ratio, 1 / ratio) >= thresholds.direction_norm_ratio
        found[rows] = ((cosines >= thresholds.direction_cosine) & differs).any(dim=1)
    return found


def cosine_histogram(W_dec: Tensor, live: Tensor, *, exact_up_to: int = EXACT_UP_TO) -> NDArray[np.int64]:
    """Counts over COSINE_EDGES of the cosines of all pairs of distinct live features, each pair once.

    Of more than `exact_up_to` live features, a million sampled pairs (as in the post) stand for all.
    """
    if int(live.sum()) > exact_up_to:
        return np.histogram(sampled_cosines(W_dec, live).clamp(-1, 1).numpy(), bins=COSINE_EDGES)[0]
    counts = np.zeros(len(COSINE_EDGES) - 1, dtype=np.int64)
    for rows, cosines in _blocks(W_dec[live]):
        later = torch.triu(torch.ones_like(cosines, dtype=torch.bool), diagonal=rows.start + 1)
        counts += np.histogram(cosines[later].clamp(-1, 1).numpy(), bins=COSINE_EDGES)[0]
    return counts


def sampled_cosines(W_dec: Tensor, live: Tensor, n: int = 1_000_000, *, seed: int = 0) -> Tensor:
    """Cosines of n pairs of distinct live features, drawn with repetition: float32 [n]; empty with fewer than two."""
    W = normalize(W_dec[live], dim=1)
    if len(W) < 2:
        return W.new_empty(0)
    rng = np.random.default_rng(seed)
    first, shift = rng.integers(len(W), size=n), rng.integers(1, len(W), size=n)
    second = (first + shift) % len(W)
    parts = (slice(i, i + 65536) for i in range(0, n, 65536))
    return torch.cat([(W[first[part]] * W[second[part]]).sum(dim=1) for part in parts])


def nearest(W_dec: Tensor, live: Tensor, n: int = 1) -> tuple[Tensor, Tensor]:
    """The n live features most alike to each, by cosine: numbers int64 and cosines [d_sae, n].

    Dead features' rows, and what is missing where there are fewer, are −1 and NaN.
    """
    numbers = torch.nonzero(live)[:, 0]
    near = torch.full((len(W_dec), n), -1, dtype=torch.int64)
    values = torch.full((len(W_dec), n), torch.nan)
    several = min(n, max(len(numbers) - 1, 0))
    for rows, cosines in _blocks(W_dec[numbers]):
        best = cosines.topk(several, dim=1)
        near[numbers[rows], :several] = numbers[best.indices]
        values[numbers[rows], :several] = best.values
    return near, values


def matched_cosines(one: Tensor, other: Tensor) -> NDArray[np.float64]:
    """How alike two dictionaries are: cosines of the pairs of the best one-to-one matching (Hungarian), [min(n, m)].

    one [n, d_model] and other [m, d_model]: directions, of live features.
    """
    cosines = (normalize(one, dim=1) @ normalize(other, dim=1).mT).numpy()
    return cosines[linear_sum_assignment(cosines, maximize=True)].astype(np.float64)


def _blocks(W: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Cosines between all rows, some rows at a time: (rows, [rows, n]); a row's with itself is put at −2."""
    unit = normalize(W, dim=1)
    for begin in range(0, len(W), BLOCK):
        rows = slice(begin, min(begin + BLOCK, len(W)))
        cosines = unit[rows] @ unit.mT
        here = torch.arange(rows.stop - rows.start)
        cosines[here, here + begin] = -2
        yield rows, cosines
