"""Nulls for the stability between seeds: the excess of unrelated dictionaries over each, whose truth is 0.

    python benchmarks/statistics/simulate_stability.py

Each kind of dictionary is drawn twice, with the same covariance and no common feature. Prints a Markdown table.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from analyze.measure.dictionary import matched_cosines
from analyze.measure.stability import excess, unrelated
from analyze.statistics.jackknife import Float
from analyze.tables import markdown

FEATURES, D_MODEL, REPEATS = 480, 64, 16
FALLING: Float = np.arange(1.0, D_MODEL + 1) ** -0.7


def spread(rng: np.random.Generator, scale: Float, n: int = FEATURES) -> Float:
    return rng.normal(size=(n, D_MODEL)) * scale


def clustered(rng: np.random.Generator) -> Float:
    """Draw eight features close to each of FEATURES / 8 centres."""
    return np.repeat(spread(rng, FALLING, FEATURES // 8), 8, axis=0) + 0.4 * spread(rng, FALLING)


def hierarchical(rng: np.random.Generator) -> Float:
    """Draw parents, and nine children of each that contain it."""
    parents = spread(rng, FALLING, FEATURES // 10)
    return np.concatenate([parents, 0.6 * np.repeat(parents, 9, axis=0) + spread(rng, FALLING, FEATURES // 10 * 9)])


DICTIONARIES: dict[str, Callable[[np.random.Generator], Float]] = {
    "isotropic": lambda rng: spread(rng, np.ones(D_MODEL)),
    "falling spectrum": lambda rng: spread(rng, FALLING),
    "steep spectrum": lambda rng: spread(rng, FALLING**2),
    "with a mean": lambda rng: spread(rng, FALLING) + 2 * FALLING[3] * np.eye(D_MODEL)[3],
    "clustered": clustered,
    "hierarchical": hierarchical,
    "fewer than dimensions": lambda rng: spread(rng, FALLING, 48),
}  # fmt: skip


def isotropic(W: Tensor, seed: int) -> Tensor:
    return torch.randn(W.shape, generator=torch.Generator().manual_seed(seed))


def rotated(W: Tensor, seed: int) -> Tensor:
    return W @ torch.linalg.qr(isotropic(torch.empty(W.shape[1], W.shape[1]), seed)).Q


def gaussian(W: Tensor, seed: int) -> Tensor:
    """Draw normal directions with the mean and covariance of W's directions."""
    directions = normalize(W, dim=1)
    mean = directions.mean(dim=0)
    _, scale, axes = torch.linalg.svd((directions - mean) / len(W) ** 0.5, full_matrices=False)
    return mean + isotropic(torch.empty(len(W), len(scale)), seed) * scale @ axes


NULLS = {"isotropic": isotropic, "rotated": rotated, "normal, same covariance": gaussian, "reflected": unrelated}


def main() -> None:
    rows = []
    for kind, draw in DICTIONARIES.items():
        rng = np.random.default_rng(0)
        cosines, excesses = [], []
        for seed in range(REPEATS):
            first, second = (torch.from_numpy(draw(rng)).float() for _ in range(2))
            cosines.append(matched_cosines(first, second))
            nulls = [matched_cosines(first, null(second, seed)) for null in NULLS.values()]
            excesses.append([excess(cosines[-1], null) for null in nulls])
        means = np.array(excesses, dtype=float).mean(axis=0)
        rows.append([kind, f"{np.mean([c.mean() for c in cosines]):.3f}", *(f"{mean:+.3f}" for mean in means)])
    print(markdown(["dictionaries", "matched cosine", *NULLS], rows))


if __name__ == "__main__":
    main()
