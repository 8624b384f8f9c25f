"""Which features a page shows: some of each kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from analyze.measure.dictionary import Thresholds, kinds
from analyze.measure.firing import FeatureActivity

EQUAL_NORMS = 1.01  # largest ratio of norms that counts as equal; a baseline's norms are all 1


def choose_features(
    fires: FeatureActivity, W_dec: Tensor, thresholds: Thresholds, each: int, *, seed: int = 0
) -> dict[str, list[int]]:
    """Return at most `each` live features per kind, by number. A feature may be of several kinds.

    W_dec: float32 [d_sae, d_model].
    """
    live = torch.nonzero(fires.all.live)[:, 0]
    by_kind = kinds(W_dec, fires.all.live, thresholds)
    rng = np.random.default_rng(seed)
    by_rate = live[torch.argsort(fires.all.count[live], descending=True, stable=True)].tolist()

    def sample(features: Tensor) -> list[int]:
        numbers = features.tolist()
        return sorted(rng.choice(numbers, min(each, len(numbers)), replace=False).tolist()) if numbers else []

    norms = W_dec[fires.all.live].norm(dim=1)
    norms_differ = len(norms) > 0 and float(norms.max() / norms.min()) > EQUAL_NORMS
    return {
        "pillar": by_kind.pillars[:each].tolist() if norms_differ else [], "direction": sample(by_kind.directions),
        "correction": sample(by_kind.corrections), "random": sample(live), "most frequent": by_rate[:each],
        "least frequent": by_rate[::-1][:each],
    }  # fmt: skip


def kinds_by_feature(chosen: Mapping[str, Sequence[int]]) -> Iterator[tuple[int, list[str]]]:
    """Yield each chosen feature once, with all kinds that it was chosen for."""
    for feature in dict.fromkeys(number for features in chosen.values() for number in features):
        yield feature, [kind for kind, features in chosen.items() if feature in features]
