"""How often features fire, counted over windows of rows."""

from __future__ import annotations

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
