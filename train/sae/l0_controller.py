"""Control L0 to a target: after each step a number u of the loss of each SAE is adjusted, its logarithm linearly.

With L the exponential mean of the batches' L0, noise off, and T the target:

    e = log(L / T), clipped to ±1
    Δ log u = i · e + d · (e − e of the step before),   where |e| < w

u is the sparsity coefficient, or the L0 at which a loss has its minimum. Coefficients start low and are never frozen,
because the one that holds L0 at T keeps falling until training ends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

MEMORY = 0.95  # of the exponential mean, per step
NO_TARGET = 0.0
LOWEST = 1e-3  # L0 whose logarithm is taken at least


@dataclass(frozen=True)
class L0Correction:
    """The last correction of an SAE's L0, on training rows after the last step (loop/calibrate.py).

    rows: number of the training rows.
    l0_before, l0: mean L0 on these rows, before and after.
    threshold_before, threshold: what `SAE.compared` must exceed for a feature to be active, before and after.
    """

    rows: int
    l0_before: float
    l0: float
    threshold_before: float
    threshold: float


@dataclass(frozen=True)
class ControlLaw:
    """The constants i, d and w of the formula, by which u follows the error."""

    integral: float
    differential: float = 0.0
    within: float = math.inf


class L0Controller:
    """The numbers u of n SAEs, of which some have targets; the others' stay as they are.

    log_value, mean_l0, error float32 [n]: the state, which checkpoints have. mean_l0 is 0 before the first step.
    """

    def __init__(
        self, law: ControlLaw, targets: Sequence[float], first: Sequence[float], *, device: torch.device
    ) -> None:
        """Begin with u = `first`. targets: NO_TARGET where there is none."""
        goals, start = (torch.tensor(values, dtype=torch.float32, device=device) for values in (targets, first))
        self._law, self._fixed = law, goals == NO_TARGET
        self._log_targets = goals.masked_fill(self._fixed, 1.0).log()
        self.log_value, self.mean_l0, self.error = start.log(), torch.zeros_like(start), torch.zeros_like(start)

    @property
    def values(self) -> Tensor:
        """u for the next step: float32 [n]."""
        return self.log_value.exp()

    def state(self) -> dict[str, Tensor]:
        """Return the state by the names that checkpoints have for it."""
        return {"l0_control": self.log_value, "mean_l0": self.mean_l0, "l0_error": self.error}

    def update(self, l0: Tensor) -> None:
        """Adjust u to the mean L0 of a batch, float32 [n], noise off."""
        first = self.mean_l0 == 0
        self.mean_l0.copy_(torch.where(first, l0, torch.lerp(l0, self.mean_l0, MEMORY)))
        error = (self.mean_l0.clamp(min=LOWEST).log() - self._log_targets).clamp_(-1, 1)
        change = (self._law.differential * (error - self.error)).masked_fill_(first, 0)
        change.add_(error, alpha=self._law.integral)
        self.log_value.add_(change.masked_fill_(self._fixed | (error.abs() >= self._law.within), 0))
        self.error.copy_(error)
