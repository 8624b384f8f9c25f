"""The truth of a store: the features that its activations are sums of, where they are known (FORMAT.md, section 10)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.errors import InputError

DIRECTIONS = "truth/directions"
PROBABILITIES, ROW_OFFSETS, FIRINGS = "truth/probabilities", "truth/row_offsets", "truth/firings"
GROUPS = ("truth", DIRECTIONS)


def direction_name(hook: str) -> str:
    """Return the name of the array of a hook's feature directions."""
    return f"{DIRECTIONS}/{hook}"


@dataclass(frozen=True)
class TruthSizes:
    """The sizes of a truth's arrays: the numbers of features, and of firings in the held-out rows."""

    n_features: int
    n_firings: int


@dataclass(frozen=True, eq=False)
class Truth:
    """The features that activations are sums of, and which of them fire in the held-out rows.

    directions: hook → float32 [n_features, d], one row per feature, of any norm but 0.
    probabilities: float64 [n_features], the share of all rows in which each feature fires.
    row_offsets, firings: int64 [held-out rows + 1] and int32 [n_firings]. The features that fire in held-out row i are
        firings[row_offsets[i]:row_offsets[i + 1]], in ascending order. Rows are numbered context × rows per context +
        position among the rows; held-out contexts come first.
    """

    directions: Mapping[str, NDArray[np.float32]]
    probabilities: NDArray[np.float64]
    row_offsets: NDArray[np.int64]
    firings: NDArray[np.int32]

    @property
    def sizes(self) -> TruthSizes:
        """The sizes of the arrays."""
        return TruthSizes(len(self.probabilities), len(self.firings))

    @property
    def l0(self) -> float:
        """The expected number of features that fire in a row."""
        return float(self.probabilities.sum())

    def fires(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which features fire in some held-out rows, int64 [n]: bool [n, n_features]."""
        begin, end = self.row_offsets[rows], self.row_offsets[rows + 1]
        counts = end - begin
        fires = np.zeros((len(rows), len(self.probabilities)), dtype=bool)
        row = np.repeat(np.arange(len(rows)), counts)
        place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        fires[row, self.firings[begin[row] + place]] = True
        return fires

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of the store, by name."""
        directions = {direction_name(hook): values for hook, values in self.directions.items()}
        return directions | {
            PROBABILITIES: self.probabilities, ROW_OFFSETS: self.row_offsets, FIRINGS: self.firings,
        }  # fmt: skip

    def check(self, widths: Mapping[str, int], n_heldout_rows: int) -> None:
        """Raise InputError if the truth does not fit a store with these hooks and this number of held-out rows."""
        n_features = len(self.probabilities)
        if set(self.directions) != set(widths):
            raise InputError(f"the truth has directions at {sorted(self.directions)}; give them at {sorted(widths)}")
        for hook, directions in self.directions.items():
            if directions.shape != (n_features, widths[hook]):
                raise InputError(
                    f"the truth's directions at {hook} have shape {directions.shape}; give {(n_features, widths[hook])}"
                )
            if not np.isfinite(directions).all() or not directions.any(axis=1).all():
                raise InputError(f"the truth's directions at {hook} must be finite, and none of them zero")
        if not ((self.probabilities >= 0) & (self.probabilities <= 1)).all():
            raise InputError("the truth's probabilities must be numbers from 0 to 1")
        offsets, firings = self.row_offsets, self.firings
        if offsets.shape != (n_heldout_rows + 1,) or offsets[0] != 0 or offsets[-1] != len(firings):
            raise InputError(
                f"the truth's row_offsets must be {n_heldout_rows + 1:,} numbers, from 0 to the number of firings"
            )
        if (np.diff(offsets) < 0).any() or not len(firings):
            raise InputError("the truth's row_offsets must not fall, and some feature must fire in a held-out row")
        row = np.repeat(np.arange(n_heldout_rows), np.diff(offsets))
        repeated = (np.diff(firings) <= 0) & (np.diff(row) == 0)
        if firings.min() < 0 or firings.max() >= n_features or repeated.any():
            raise InputError(f"the truth's firings must be features from 0 to {n_features - 1}, ascending in each row")
