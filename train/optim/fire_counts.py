"""Counts of the rows in which features fire, over windows of rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class FireCounts:
    """Firing counts of n SAEs over consecutive windows of rows: the current window, and the last complete one.

    A window ends with the step that fills it; with `window=None` it never ends. current, last: int64 [n, d_sae], over
    `rows` and `last_rows` rows.
    """

    def __init__(self, n: int, d_sae: int, *, window: int | None, device: torch.device) -> None:
        self.window = window
        self.rows, self.last_rows = 0, 0
        self.current, self.last = (torch.zeros(n, d_sae, dtype=torch.int64, device=device) for _ in range(2))

    def add(self, fires: Tensor, n_rows: int) -> None:
        """Add the counts of a batch: int64 [n, d_sae] over n_rows rows."""
        self.current += fires
        self.rows += n_rows
        if self.window is not None and self.rows >= self.window:
            self.last, self.last_rows = self.current, self.rows
            self.restart()

    def restart(self) -> None:
        """Begin a new window."""
        self.current, self.rows = torch.zeros_like(self.current), 0

    def dead_fraction(self) -> Tensor | None:
        """Return the fraction of features that never fired in the last complete window: float64 [n]; None before it."""
        return (self.last == 0).double().mean(dim=1) if self.last_rows else None


class SinceFired:
    """Rows since each feature of n SAEs last fired: `rows` int64 [n, d_sae]. limits: rows after which one is dead."""

    def __init__(self, n: int, d_sae: int, limits: Sequence[int | None], *, device: torch.device) -> None:
        self.rows = torch.zeros(n, d_sae, dtype=torch.int64, device=device)
        never = torch.iinfo(torch.int64).max
        self._limits = torch.tensor([never if limit is None else limit for limit in limits], device=device)

    def add(self, fires: Tensor, n_rows: int) -> None:
        """Add a batch: the number of its rows in which each feature fired, int64 [n, d_sae]."""
        self.rows.add_(n_rows).masked_fill_(fires > 0, 0)

    def dead(self, n_rows: int) -> Tensor:
        """Return the features that are dead unless they fire in the next n_rows rows: bool [n, d_sae]."""
        return self.rows + n_rows >= self._limits[:, None]
