"""How the learning rate and the sparsity coefficient change over training: pure functions of the rows seen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """All in rows (activations). The post has neither warm-up nor decay: 0 everywhere."""

    total: int
    lr_warmup: int = 0
    l1_warmup: int = 0
    lr_decay: int = 0  # over how many last rows the learning rate falls to 0, linearly

    def lr(self, seen: int, batch_size: int) -> float:
        """Factor of the learning rate for the step that follows `seen` rows."""
        return min(_ramp(seen + batch_size, self.lr_warmup), _ramp(self.total - seen, self.lr_decay))

    def l1(self, seen: int, batch_size: int) -> float:
        """Factor of the sparsity coefficient for the step that follows `seen` rows."""
        return _ramp(seen + batch_size, self.l1_warmup)


def _ramp(rows: int, length: int) -> float:
    return min(rows / length, 1.0) if length else 1.0
