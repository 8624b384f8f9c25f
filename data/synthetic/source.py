"""Rows of synthetic activations, drawn part by part, as a source of a store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import embedding_bag

from data.errors import InputError
from data.store.truth import Truth
from data.store.writing.write import ActivationSource, Rows
from data.synthetic.features import SyntheticFeatures

PART = 1024  # rows drawn at once, from a seed of their own; another number gives other rows
ROWS_PER_DOCUMENT = 64  # rows are independent, but intervals resample documents, and fewer are cheaper


@dataclass(frozen=True)
class Firings:
    """The features that fire in some rows, as entries of a matrix [rows, features], row by row, features ascending.

    row, feature: int64 [n].
    """

    row: NDArray[np.int64]
    feature: NDArray[np.int64]

    def offsets(self, n_rows: int) -> NDArray[np.int64]:
        """Return where each row's entries begin, and the end: int64 [n_rows + 1]."""
        return np.searchsorted(self.row, np.arange(n_rows + 1))


def draw_firings(features: SyntheticFeatures, n_rows: int, rng: np.random.Generator) -> Firings:
    """Draw which features fire in each of n rows. Only the free features take memory for all pairs."""
    thresholds = torch.special.ndtri(torch.from_numpy(features.probabilities[: features.n_free])).float()
    shared, independent = (torch.from_numpy(rng.standard_normal((n_rows, n), dtype=np.float32))
                   for n in (features.rank, features.n_free))  # fmt: skip
    v = features.shared_variance
    latent = torch.addmm(independent, shared, features.factors.T, beta=(1 - v) ** 0.5, alpha=v**0.5)
    row, feature = (latent < thresholds).nonzero().numpy().T
    rows, fired = [row], [feature]
    bounds = np.cumsum(features.child_probabilities)
    for _ in range(features.depth):
        child = features.first_child(feature)
        row, child = row[child >= 0], child[child >= 0]
        which = np.searchsorted(bounds, rng.random(len(child)), side="right")
        fires = which < features.n_children
        row, feature = row[fires], (child + which)[fires]
        rows.append(row)
        fired.append(feature)
    row, feature = np.concatenate(rows), np.concatenate(fired)
    order = np.lexsort((feature, row))
    return Firings(row[order], feature[order])


def draw_activations(
    features: SyntheticFeatures, firings: Firings, n_rows: int, rng: np.random.Generator
) -> torch.Tensor:
    """Draw the amounts of firing features, and return the sums: float32 [n_rows, d_model]."""
    spread = features.amount_spread
    amounts = np.exp(spread * rng.standard_normal(len(firings.row), dtype=np.float32) - spread**2 / 2)
    x = embedding_bag(
        torch.from_numpy(firings.feature), features.directions, torch.from_numpy(firings.offsets(n_rows)[:-1]),
        mode="sum", per_sample_weights=torch.from_numpy(amounts),
    )  # fmt: skip
    noise = torch.from_numpy(rng.standard_normal((n_rows, features.d_model), dtype=np.float32))
    return x + features.constant + noise * (features.noise / features.d_model**0.5)


def synthetic_source(
    features: SyntheticFeatures, *, rows: int, heldout: int, scales: Sequence[float] = (1.0,), seed: int = 0
) -> ActivationSource:
    """Return synthetic activations with their truth, as a source for `write_store`.

        from data import SyntheticFeatures, synthetic_source, write_store
        features = SyntheticFeatures(n_features=256, d_model=64)
        source = synthetic_source(features, rows=200_000, heldout=10_000, scales=(1, 3, 10))
        store = write_store("data/synthetic.zarr", source)  # train --store data/synthetic.zarr …

    rows: number of rows for training. heldout: number of held-out rows.
    scales: what the activations of layer 0, 1, … are multiplied by; the layers are the same but for that.
    seed: seed of the rows.

    Rows are independent. Each is a context of its own, and 64 rows count as a document. The same arguments give the
    same rows with the same version of NumPy. Raises InputError if a number is less than 1, or a scale is not above 0.
    """
    if rows < 1 or heldout < 1 or not scales or min(scales) <= 0:
        raise InputError(f"rows {rows}, heldout {heldout}, scales {list(scales)}: give numbers above 0")
    hooks = {f"blocks.{layer}.synthetic": scale for layer, scale in enumerate(scales)}
    numbers = np.concatenate(
        [np.arange(heldout), np.arange(rows) + -(-heldout // ROWS_PER_DOCUMENT) * ROWS_PER_DOCUMENT]
    )
    documents = (numbers // ROWS_PER_DOCUMENT).astype(np.int32)[:, None]
    about = {**asdict(features), "rows": rows, "heldout": heldout, "scales": list(scales), "rows_seed": seed}
    return ActivationSource(
        dict.fromkeys(hooks, features.d_model), rows + heldout, _batches(features, rows + heldout, hooks, seed),
        n_heldout=heldout, documents=documents, model="synthetic features", dataset="synthetic activations",
        settings=about, truth=_truth(features, heldout, hooks, seed),
    )  # fmt: skip


def _parts(n_rows: int, seed: int) -> Iterator[tuple[int, np.random.Generator]]:
    """Yield the number of rows of each part, and its random numbers."""
    for part, begin in enumerate(range(0, n_rows, PART)):
        yield min(PART, n_rows - begin), np.random.default_rng([seed, 3, part])


def _batches(features: SyntheticFeatures, n_rows: int, scales: dict[str, float], seed: int) -> Iterator[Rows]:
    for size, rng in _parts(n_rows, seed):
        # Whole parts are drawn, so the held-out rows are the same without the rows after them.
        x = draw_activations(features, draw_firings(features, PART, rng), PART, rng)[:size]
        yield {hook: x * scale for hook, scale in scales.items()}


def _truth(features: SyntheticFeatures, heldout: int, hooks: Iterable[str], seed: int) -> Truth:
    offsets, firings, total = [np.zeros(1, dtype=np.int64)], [], 0
    for size, rng in _parts(heldout, seed):
        drawn = draw_firings(features, PART, rng)
        ends = drawn.offsets(PART)[1 : size + 1]
        offsets.append(total + ends)
        firings.append(drawn.feature[: ends[-1]].astype(np.int32))
        total += int(ends[-1])
    directions = features.directions.numpy()
    return Truth(
        dict.fromkeys(hooks, directions), features.probabilities, np.concatenate(offsets), np.concatenate(firings)
    )
