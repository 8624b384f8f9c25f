"""p-annealing (Karvonen et al. 2024, arXiv 2408.00113): the penalty's power p falls from 1, towards counting features.

    c = ReLU(π),   loss = ‖x − x̂‖² + λ s Σ |cᵢ|ᵖ    (`--penalty norm`: (Σ |cᵢ|ᵖ)^(1/p))

p falls in equal steps from 1 to `--p-end`, at steps that divide the training after `--anneal-after` evenly. At each of
them the scale s is multiplied by mean Σ|c|ᵖ / mean Σ|c|^(p′) over the recent batches, so the next p′ penalises them
equally.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import relu

from train.sae.base import SAE
from train.sae.entries import PreActivations
from train.sae.pairwise import PairwiseSAE
from train.sae.selection import Above
from train.sae.tensors import LINEAR_MAPS, UNIT_ROWS, TensorSpec
from train.sae.training_pass import LossInputs, TrainingPass
from train.variants import PAnnealSettings

RECENT = 10  # batches
P_UPDATES = 10  # outside a training, which settles the number


class PAnnealSAE(PairwiseSAE):
    """A ReLU SAE with unit decoder rows and an annealed penalty. `SAE` has the shapes.

    penalty_scale [...]: s. recent [..., RECENT, 2]: Σ|c|ᵖ and Σ|c|^(p′) of recent batches, the newest last; −1: none.
    """

    variant = "p-anneal"
    uses_split = True
    Settings = PAnnealSettings
    trained: ClassVar[Mapping[str, TensorSpec]] = {**LINEAR_MAPS, "W_dec": UNIT_ROWS}
    untrained: ClassVar[Mapping[str, TensorSpec]] = {
        **SAE.untrained, "penalty_scale": TensorSpec((), fill=1.0), "recent": TensorSpec((RECENT, 2), fill=-1.0),
    }  # fmt: skip
    settings: PAnnealSettings
    penalty_scale: Tensor
    recent: Tensor

    def activations(self, x: Tensor, epsilon: Tensor | None = None) -> Tensor:
        return relu(self.pre_activations(x))

    @property
    def p_updates(self) -> int:
        """The number of values that p takes."""
        return self.settings.p_updates or P_UPDATES

    def updates_before(self, step: LossInputs) -> int:
        """Return how many times p has been set before a step; it is 1 until then."""
        return bisect_left(range(self.p_updates), step.step, key=lambda i: self._update_step(i, step))

    def power(self, updates: int) -> float:
        """Return p after so many updates."""
        last = self.p_updates - 1
        return 1.0 if updates == 0 or not last else 1 + (self.settings.p_end - 1) * min(updates - 1, last) / last

    def _update_step(self, update: int, step: LossInputs) -> int:
        """Return after how many steps p is set for the time `update`, from 0; never if it begins after the end."""
        begin, last = -(-(self.settings.anneal_after or 0) // step.rows), self.p_updates - 1
        return begin + max(step.n_steps - begin, 0) * update // max(last, 1)

    def loss_on(self, encoded: PreActivations, x: Tensor, step: LossInputs) -> TrainingPass:
        active = encoded.select(Above(0.0))
        c = relu(active.pre)
        x_hat = active.decode(c, self.W_dec) + self.b_dec
        updates = self.updates_before(step)
        penalty = self._penalty(active.row_sums(c.pow(self.power(updates))), updates)
        terms = {"l2": (x - x_hat).square().sum(dim=-1), "lp": step.beta * self.penalty_scale * penalty}
        observed = {}
        if updates:
            next_penalty = self._penalty(active.row_sums(c.detach().pow(self.power(updates + 1))), updates + 1)
            observed = {"penalty": penalty.detach(), "next_penalty": next_penalty}
        return TrainingPass(x_hat, active.row_sums(c).detach(), active.counts(c), terms, observed)

    def _penalty(self, sums: Tensor, updates: int) -> Tensor:
        """Return the penalty of each row from Σ|c|ᵖ [rows], p that of so many updates."""
        return sums if self.settings.penalty == "sum" else sums.pow(1 / self.power(updates))

    @torch.no_grad()
    def after_step_(self, observed: Mapping[str, Tensor], step: LossInputs) -> None:
        if not observed:
            return
        means = torch.stack([step.mean(observed["penalty"]), step.mean(observed["next_penalty"])])
        self.recent.copy_(torch.cat([self.recent[1:], means[None]]))
        if step.step == self._update_step(self.updates_before(step), step):
            recent = self.recent[self.recent[:, 0] >= 0].mean(dim=0)
            self.penalty_scale.mul_(recent[0] / recent[1])
