"""Features to look at: which of them, where they are active, and what stands around them.

Not here: the page (feature_page.py), tokens as text (token_text.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analyze.measure.dictionary import Thresholds, kinds
from analyze.measure.firing import FeatureActivity
from analyze.measure.heldout import Heldout
from analyze.measure.row_pass import BATCH
from train.sae import SAE

Floats = NDArray[np.float32]

QUANTILES = 4


@dataclass(frozen=True)
class Place:
    """A position of a held-out context where a feature is active."""

    context: int
    position: int
    activation: float


def choose(
    fires: FeatureActivity, W_dec: Tensor, thresholds: Thresholds, each: int, *, seed: int = 0
) -> dict[str, list[int]]:
    """Some live features of each kind, by number: at most `each` of a kind; a feature may be of several."""
    numbers, count = torch.nonzero(fires.all.live)[:, 0], fires.all.count
    found = kinds(W_dec, fires.all.live, thresholds)
    rng = np.random.default_rng(seed)
    by_rate = numbers[torch.argsort(count[numbers], descending=True, stable=True)].tolist()

    def some(of: Tensor) -> list[int]:
        several = of.tolist()
        return sorted(rng.choice(several, min(each, len(several)), replace=False).tolist()) if several else []

    norms = W_dec[fires.all.live].norm(dim=1)
    has_long = len(norms) > 0 and float(norms.max() / norms.min()) > 1.01  # a baseline's norms are all 1
    return {
        "pillar": found.pillars[:each].tolist() if has_long else [], "direction": some(found.directions),
        "correction": some(found.corrections), "random": some(numbers), "most frequent": by_rate[:each],
        "least frequent": by_rate[::-1][:each],
    }  # fmt: skip


@torch.no_grad()
def activations(heldout: Heldout, hook: str, sae: SAE, features: Sequence[int]) -> Floats:
    """Of features [n], noise off, on all held-out contexts: float32 [n, contexts, context_size].

    Positions that the store leaves out are 0.
    """
    size = heldout.store.schema.context_size
    found = np.zeros((len(features), heldout.n_contexts, size), dtype=np.float32)
    for rows in heldout.rows(hook, batch_size=BATCH):
        c = sae.encode(rows.x)[:, list(features)]
        found[:, rows.context, rows.position] = c.mT.numpy()
    return found


def strongest(c: Floats, n: int) -> list[Place]:
    """Of one feature [contexts, positions]: the n contexts where it is most active, each at its maximum."""
    peak = c.max(axis=1)
    best = np.argsort(-peak, kind="stable")[:n]
    return [Place(int(i), int(c[i].argmax()), float(peak[i])) for i in best if peak[i] > 0]


def by_quantile(c: Floats, each: int, *, seed: int = 0) -> list[tuple[str, list[Place]]]:
    """Of one feature: some places from each quarter of its activations above 0, highest quarter first."""
    context, position = np.nonzero(c)
    order = np.argsort(-c[context, position], kind="stable")
    rng = np.random.default_rng(seed)
    found = []
    for i, part in enumerate(np.array_split(order, QUANTILES)):
        picked = np.sort(rng.permutation(len(part))[:each])
        places = [Place(int(context[j]), int(position[j]), float(c[context[j], position[j]])) for j in part[picked]]
        found.append((f"quarter {i + 1} of {QUANTILES}", places))
    return found


def histogram(c: Floats, bins: int = 24) -> tuple[list[float], list[int]]:
    """Of one feature's activations above 0: edges [bins + 1] and counts [bins]."""
    active = c[c > 0]
    counts, edges = np.histogram(active, bins=bins, range=(0, float(active.max()) if len(active) else 1.0))
    return edges.tolist(), counts.tolist()


def kinds_of(chosen: Mapping[str, Sequence[int]]) -> Iterator[tuple[int, list[str]]]:
    """Each chosen feature once, with all kinds it was chosen for."""
    for feature in dict.fromkeys(number for several in chosen.values() for number in several):
        yield feature, [kind for kind, several in chosen.items() if feature in several]
