"""Dead features: when they are looked for, and how they are started anew.

Features that fired in at most `threshold` of the rows of the last window are dead. Each is restarted at an input drawn
with probability proportional to the squared loss (Bricken et al. 2023): its encoder row at 0.2 of the live features'
mean norm, its decoder row as the architecture says (`SAE.reset_features_`), its Adam moments forgotten.

Not here: counting (counts.py), reading the inputs (trainer.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from train.sae import SAE

ENCODER_SHARE = 0.2  # of the live features' mean encoder norm


@dataclass(frozen=True)
class Resampling:
    """In rows (activations): every `interval`, at most `at_most` times, judged by the `window` rows before."""

    interval: int
    window: int
    threshold: float
    at_most: int
    rows: int  # the inputs are drawn from so many rows

    def due(self, seen: int, now: int) -> bool:
        """Whether features are restarted after the step that brings the rows seen from `seen` to `now`."""
        return seen // self.interval < min(now // self.interval, self.at_most)

    def window_begins(self, seen: int, now: int) -> bool:
        """Whether counting starts afresh after that step: before the one in which the window begins.

        Where that may be the very step of the restart before, counting starts after it.
        """
        due = self.due(seen, now)
        if due or self.window + (now - seen) > self.interval:
            return due
        next_step = 2 * now - seen
        return (now + self.window - 1) // self.interval < (next_step + self.window - 1) // self.interval


def draw_inputs(losses: Tensor, n: int, *, seed: int) -> Tensor:
    """Rows to restart at, drawn by squared loss: losses [rows] → int64 [n], without repetition if there are enough."""
    weights = losses.double().cpu().square()
    if not float(weights.sum()) > 0:
        weights = torch.ones_like(weights)
    generator = torch.Generator().manual_seed(seed)
    if n <= int((weights > 0).sum()):  # an exponential race; torch.multinomial does the same, for at most 2²⁴ rows
        race = torch.empty_like(weights).exponential_(generator=generator)
        return torch.topk(weights / race, n).indices
    ends = weights.cumsum(0)
    places = torch.rand(n, generator=generator, dtype=torch.float64) * ends[-1]
    return torch.searchsorted(ends, places, right=True).clamp(max=len(weights) - 1)


def restart(sae: SAE, dead: Tensor, x: Tensor) -> None:
    """Restart the features `dead` int64 [k] of a single SAE at inputs x [k, d_model], in the SAE's own scale."""
    live = torch.ones(sae.d_sae, dtype=torch.bool, device=dead.device)
    live[dead] = False
    if not live.any():
        live[:] = True
    encoder_norm, decoder_norm = (float(w[live].norm(dim=-1).mean()) for w in (sae.W_enc, sae.W_dec))
    inner = x - sae.b_dec
    sae.reset_features_(dead, inner, encoder_norm=ENCODER_SHARE * encoder_norm, decoder_norm=decoder_norm)
