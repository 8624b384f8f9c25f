"""How often features fire: counts over windows of rows."""

from __future__ import annotations

import torch
from torch import Tensor


class FireCounts:
    """Counts for n SAEs: of the window that is running, and of the last whole one.

    A window ends with the step that fills it; without `window` it runs on. int64 [n, d_sae] each.
    """

    def __init__(self, n: int, d_sae: int, *, window: int | None, device: torch.device) -> None:
        self.window = window
        self.rows, self.last_rows = 0, 0
        self.current, self.last = (torch.zeros(n, d_sae, dtype=torch.int64, device=device) for _ in range(2))

    def add(self, fires: Tensor, n_rows: int) -> None:
        self.current += fires
        self.rows += n_rows
        if self.window is not None and self.rows >= self.window:
            self.last, self.last_rows = self.current, self.rows
            self.restart()

    def restart(self) -> None:
        self.current, self.rows = torch.zeros_like(self.current), 0

    def dead_fraction(self) -> Tensor | None:
        """Share of features that never fired in the last whole window: float64 [n]; None before there is one."""
        return (self.last == 0).double().mean(dim=1) if self.last_rows else None
