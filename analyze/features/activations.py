"""The positions where features are active in the held-out contexts, without the zeros. The noise is off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from analyze.measure.heldout import Heldout
from train.sae import SAE

DENSE_ENTRIES = 1 << 24  # activations computed at once, rows × features: 64 MiB


@dataclass(frozen=True)
class ActivePositions:
    """The positions where one feature is active, in the order of the text.

    place: int64 [n], context · context_size + position; `context` is an index into the contexts that were read.
    activation: float32 [n].
    """

    place: NDArray[np.int64]
    activation: NDArray[np.float32]


@dataclass(frozen=True)
class _Batch:
    """The active entries of a batch of rows by feature: those of feature i are `start[i]` to `start[i + 1]`."""

    start: NDArray[np.int64]
    place: NDArray[np.int64]
    activation: NDArray[np.float32]


class Activations:
    """The active positions of some features of an SAE. They take 12 bytes per active entry."""

    def __init__(self, batches: Sequence[_Batch]) -> None:
        self._batches = batches

    def of_feature(self, i: int) -> ActivePositions:
        """Return the active positions of the i-th feature that was asked for."""
        parts = [(batch, slice(*batch.start[i : i + 2])) for batch in self._batches]
        place = np.concatenate([batch.place[part] for batch, part in parts])
        activation = np.concatenate([batch.activation[part] for batch, part in parts])
        order = np.argsort(place)
        return ActivePositions(place[order], activation[order])


@torch.no_grad()
def activations(
    heldout: Heldout, hook: str, sae: SAE, features: Sequence[int], *, device: torch.device | str = "cpu"
) -> Activations:
    """Return the active positions of features, by number, in one pass over a hook's held-out rows.

    sae: on `device`.
    """
    size = heldout.store.schema.context_size
    numbers = torch.tensor(features, dtype=torch.int64, device=device)
    batches = []
    for rows in heldout.rows(hook, batch_size=max(1, DENSE_ENTRIES // sae.d_sae)):
        c = sae.encode(rows.x.to(device))[:, numbers].T.contiguous()
        feature, row = torch.nonzero(c, as_tuple=True)
        values = c[feature, row].cpu().numpy()
        start = np.searchsorted(feature.cpu().numpy(), np.arange(len(features) + 1))
        index = row.cpu().numpy()
        batches.append(_Batch(start, rows.context[index] * size + rows.position[index], values))
    return Activations(batches)
