"""Where features are active on the held-out contexts. Activations are taken with the noise off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from analyze.measure.heldout import Heldout
from analyze.measure.row_pass import BATCH
from train.sae import SAE

Floats = NDArray[np.float32]

QUANTILES = 4


@dataclass(frozen=True)
class ActivePosition:
    """A position where a feature is active; `context` is an index into the contexts that were read."""

    context: int
    position: int
    activation: float


@torch.no_grad()
def activations(heldout: Heldout, hook: str, sae: SAE, features: Sequence[int]) -> Floats:
    """Return the activations of features [n] on all held-out contexts: float32 [n, contexts, context_size].

    Positions that are not in the store are 0.
    """
    size = heldout.store.schema.context_size
    c = np.zeros((len(features), heldout.n_contexts, size), dtype=np.float32)
    for rows in heldout.rows(hook, batch_size=BATCH):
        c[:, rows.context, rows.position] = sae.encode(rows.x)[:, list(features)].mT.numpy()
    return c


def strongest_contexts(c: Floats, n: int) -> list[ActivePosition]:
    """Return the n contexts with the largest activations of one feature, c [contexts, positions], at their maxima."""
    peak = c.max(axis=1)
    best = np.argsort(-peak, kind="stable")[:n]
    return [ActivePosition(int(i), int(c[i].argmax()), float(peak[i])) for i in best if peak[i] > 0]


def samples_by_quarter(c: Floats, each: int, *, seed: int = 0) -> list[tuple[str, list[ActivePosition]]]:
    """Sample positions from each quarter of one feature's activations above 0, c [contexts, positions].

    The quarter with the largest activations comes first, with at most `each` positions per quarter.
    """
    context, position = np.nonzero(c)
    order = np.argsort(-c[context, position], kind="stable")
    rng = np.random.default_rng(seed)
    quarters = []
    for i, part in enumerate(np.array_split(order, QUANTILES)):
        picked = part[np.sort(rng.permutation(len(part))[:each])]
        positions = [
            ActivePosition(int(context[j]), int(position[j]), float(c[context[j], position[j]])) for j in picked
        ]
        quarters.append((f"quarter {i + 1} of {QUANTILES}", positions))
    return quarters


def histogram(c: Floats, bins: int = 24) -> tuple[list[float], list[int]]:
    """Count one feature's activations above 0: return edges [bins + 1] and counts [bins]."""
    active = c[c > 0]
    counts, edges = np.histogram(active, bins=bins, range=(0, float(active.max()) if len(active) else 1.0))
    return edges.tolist(), counts.tolist()
