"""The kinds of features, and a choice of some of each kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest

import numpy as np
import torch
from torch import Tensor

from analyze.measure.dictionary import Thresholds, kinds
from analyze.measure.firing import FeatureActivity
from analyze.runs.trained_run import TrainedRun

KINDS = ("pillar", "direction", "correction")
EQUAL_NORMS = 1.01  # largest ratio of norms that counts as equal; a baseline's norms are all 1


def choose_features(
    fires: FeatureActivity, W_dec: Tensor, thresholds: Thresholds, n_per_kind: int, *, seed: int = 0
) -> dict[str, list[int]]:
    """Return at most `n_per_kind` live features per kind, by number. A feature may be of several kinds.

    W_dec: float32 [d_sae, d_model].
    """
    live = torch.nonzero(fires.all.live)[:, 0]
    by_kind = kinds(W_dec, fires.all.live, thresholds)
    rng = np.random.default_rng(seed)
    by_rate = live[torch.argsort(fires.all.count[live], descending=True, stable=True)].tolist()

    def sample(features: Tensor) -> list[int]:
        numbers = features.tolist()
        return sorted(rng.choice(numbers, min(n_per_kind, len(numbers)), replace=False).tolist()) if numbers else []

    pillars = by_kind.pillars[:n_per_kind].tolist() if norms_differ(W_dec[fires.all.live]) else []
    return {
        "pillar": pillars, "direction": sample(by_kind.directions), "correction": sample(by_kind.corrections),
        "random": sample(live), "most frequent": by_rate[:n_per_kind], "least frequent": by_rate[::-1][:n_per_kind],
    }  # fmt: skip


def kinds_by_feature(W_dec: Tensor, live: Tensor, thresholds: Thresholds) -> dict[int, tuple[str, ...]]:
    """Return the kinds of each feature that has one: "pillar", "direction", "correction"."""
    by_kind = kinds(W_dec, live, thresholds)
    features = {
        "pillar": by_kind.pillars.tolist() if norms_differ(W_dec[live]) else [],
        "direction": by_kind.directions.tolist(), "correction": by_kind.corrections.tolist(),
    }  # fmt: skip
    numbers = sorted({number for of_kind in features.values() for number in of_kind})
    members = {kind: set(of_kind) for kind, of_kind in features.items()}
    return {number: tuple(kind for kind in KINDS if number in members[kind]) for number in numbers}


def norms_differ(W: Tensor) -> bool:
    """Return whether the rows of W [n, d_model] differ in norm, so that some stand out as pillars."""
    norms = W.norm(dim=1)
    return len(norms) > 0 and float(norms.max() / norms.min()) > EQUAL_NORMS


def some_features(fires: FeatureActivity, W_dec: Tensor, thresholds: Thresholds, n: int, *, seed: int = 0) -> list[int]:
    """Return at most n live features, ascending, taken from each kind of `choose_features` in turn."""
    chosen = choose_features(fires, W_dec, thresholds, n, seed=seed)
    in_turn = (number for turn in zip_longest(*chosen.values()) for number in turn if number is not None)
    return sorted(list(dict.fromkeys(in_turn))[:n])


def representatives(
    fires: Iterable[FeatureActivity], families: Mapping[str, Sequence[TrainedRun]]
) -> list[FeatureActivity]:
    """Return one SAE per family, with the noise off: the middle layer of the run with the middle α."""
    noise_off = [activity for activity in fires if not activity.noise]
    chosen = []
    for runs in families.values():
        run = sorted(runs, key=lambda run: run.sparsity)[len(runs) // 2]
        layers = [activity for activity in noise_off if activity.run.name == run.name]
        chosen.append(layers[len(layers) // 2])
    return chosen
