"""The counts of held-out rows in which an SAE's features fire: exact, without intervals.

A share of dead features over fewer documents is larger, so leaving out documents says nothing of its error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from analyze.measure.positions import subsets
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import Estimate, Estimates, Key
from analyze.statistics.jackknife import Float
from data.store.stats import Subset

DENSITY_EDGES = np.arange(-7.0, 0.01, 0.25)  # log₁₀ of the share of rows in which a feature fires


@dataclass(frozen=True)
class HeldoutFireCounts:
    """The number of rows of a subset of positions in which each feature fired.

    count: int64 [d_sae], out of `rows` rows. silent: count of features that fire in none of a batch's rows, mean over
    the batches of `batch` rows; of a batch, only the rows of the subset count.
    """

    rows: int
    count: torch.Tensor
    silent: float
    batch: int

    @property
    def live(self) -> torch.Tensor:
        """True for each feature that fired at all: bool [d_sae]."""
        return self.count > 0

    @property
    def dead(self) -> float:
        """The share of features that never fired."""
        return float((~self.live).double().mean())

    def density_histogram(self) -> NDArray[np.int64]:
        """Count features by the share of rows in which they fire, in bins of DENSITY_EDGES; dead ones are in none."""
        density = self.count.numpy()[self.live.numpy()] / self.rows
        return np.histogram(np.log10(density), bins=DENSITY_EDGES)[0]


@dataclass(frozen=True)
class FeatureRow:
    """How many features of an SAE fire, on a subset of positions (the table `features`).

    rows: the rows in which features were counted.
    dead: the share of features that never fired.
    silent, batch: see `HeldoutFireCounts`.
    density_log10_edges, density_features: histogram of the share of rows in which a feature fires.
    """

    run: str
    variant: str
    hook: str
    noise: bool
    subset: str
    rows: int
    d_sae: int
    dead: float
    silent: float
    batch: int
    density_log10_edges: list[float]
    density_features: list[int]


@dataclass(frozen=True)
class FeatureActivity:
    """The firing counts of one SAE's features, noise off or on, by subset of positions."""

    run: TrainedRun
    hook: str
    noise: bool
    by_subset: Mapping[str, HeldoutFireCounts]

    @property
    def all(self) -> HeldoutFireCounts:
        """The counts over all positions."""
        return self.by_subset[Subset.ALL]

    def feature_rows(self) -> list[FeatureRow]:
        """Return one row per subset."""
        return [
            FeatureRow(
                self.run.name, self.run.variant, self.hook, self.noise, subset, counts.rows, len(counts.count),
                counts.dead, counts.silent, counts.batch, DENSITY_EDGES.tolist(), counts.density_histogram().tolist(),
            )
            for subset, counts in self.by_subset.items()
        ]  # fmt: skip


def dead_shares(fires: Iterable[FeatureActivity]) -> Estimates:
    """Return the share of dead features of each SAE, noise setting and subset as exact estimates."""
    return {
        Key(sae.run.name, sae.hook, sae.noise, subset, "dead"): Estimate(counts.dead)
        for sae in fires
        for subset, counts in sae.by_subset.items()
    }


def fire_counts(
    rows: Float, fires: NDArray[np.int64], silent: NDArray[np.int64], bins: list[tuple[str, int, int]]
) -> dict[str, HeldoutFireCounts]:
    """Return the counts of each subset that has rows.

    rows: [bins]. fires: [bins, d_sae]. silent: [batches, 1 + subsets], a batch's rows and its silent features per
    subset. Shorter batches, at the ends of shards, are left out of the mean of silent features.
    """
    batch = int(silent[:, 0].max())
    means = silent[silent[:, 0] == batch, 1:].mean(axis=0)
    rows_of, fires_of = subsets(rows, bins, axis=0), subsets(fires, bins, axis=0)
    return {
        name: HeldoutFireCounts(int(rows_of[name]), torch.from_numpy(fires_of[name]), float(mean), batch)
        for name, mean in zip(fires_of, means, strict=True)
        if rows_of[name]
    }
