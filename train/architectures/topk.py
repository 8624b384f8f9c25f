"""TopK (Gao et al. 2024, arXiv 2406.04093): the k largest pre-activations of each row are active.

c = the k largest of ReLU(π),   loss = ‖x − x̂‖² + a · aux

e = x − x̂ without gradient,   ê = Σ of the k_aux largest ReLU(πᵢ) dᵢ over dead features
aux = mean ‖e − ê‖² / mean ‖e − mean e‖²    (0 where that is not finite)

With `--unit-decoder false`, entries are compared by their contributions πᵢ‖dᵢ‖ rather than by πᵢ.
`--aux-form absolute` (SAELens): aux = mean ‖e − ê‖² · min(dead / k_aux, 1), ê of πᵢ rather than ReLU(πᵢ).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import relu

from train.sae.entries import Entries, PreActivations
from train.sae.pairwise import PairwiseSAE
from train.sae.selection import LargestOfRow, Selection
from train.sae.tensors import LINEAR_MAPS, UNIT_ROWS, TensorSpec
from train.sae.training_pass import LossInputs, TrainingPass
from train.variants import FrozenSettings, TopKSettings


class TopKSAE(PairwiseSAE):
    """A TopK SAE with decoder rows of unit norm. `SAE` has the shapes."""

    variant = "topk"
    Settings: ClassVar[type[FrozenSettings]] = TopKSettings
    trained: ClassVar[Mapping[str, TensorSpec]] = {**LINEAR_MAPS, "W_dec": UNIT_ROWS}
    sees = "batch"  # as the auxiliary loss does
    uses_split = True
    settings: FrozenSettings

    @property
    def rows_until_dead(self) -> int | None:
        return self.settings.dead_after if self.settings.aux else None

    @property
    def most_pairs_per_row(self) -> float:
        return self.settings.k + self.aux_k * bool(self.settings.aux)

    def activations(self, x: Tensor, epsilon: Tensor | None = None) -> Tensor:
        pre = relu(self.pre_activations(x))
        top = torch.topk(self.contributions(pre), min(self.settings.k, self.d_sae), dim=-1, sorted=False)
        return torch.zeros_like(pre).scatter_(-1, top.indices, pre.gather(-1, top.indices))

    def contributions(self, pre: Tensor) -> Tensor:
        weight = self.weight()
        return pre if weight is None else pre * weight[..., None, :]

    def weight(self, features: Tensor | None = None) -> Tensor | None:
        """Return the norms of the decoder's rows [..., d_sae], or of some of a single SAE's; None if they are 1."""
        if "W_dec" not in self.specs or self.specs["W_dec"].unit_rows:
            return None
        norms = torch.linalg.vector_norm(self.W_dec.detach(), dim=-1)
        return norms if features is None else norms[features]

    def active(self) -> Selection:
        """Return the entries that are active in training."""
        return LargestOfRow(self.settings.k, weight=self.weight())

    def loss_on(self, encoded: PreActivations, x: Tensor, step: LossInputs) -> TrainingPass:
        active = encoded.select(self.active())
        c = relu(active.pre)
        fires = active.counts(c)
        x_hat = active.decode(c, self.W_dec) + self.b_dec
        terms = self.reconstruction_terms(active, c, x, x_hat)
        if self.settings.aux:
            absolute = self.settings.aux_form == "absolute"
            dead = torch.nonzero(step.dead if absolute else step.dead & (step.split.sum(fires) == 0))[:, 0]
            terms["aux"] = x.new_zeros(())
            if len(dead):
                loss = self.absolute_auxiliary_loss if absolute else self.auxiliary_loss
                terms["aux"] = self.settings.aux * loss(encoded, dead, (x - x_hat).detach(), step)
        return TrainingPass(x_hat, active.row_sums(c).detach(), fires, terms, self.observe(active, c.detach()))

    @property
    def aux_k(self) -> int:
        """Return k_aux."""
        return self.settings.aux_k or self.d_model // 2

    def observe(self, active: Entries, c: Tensor) -> dict[str, Tensor]:
        """Return what `after_step_` learns from, from the active entries and their c."""
        return {}

    def reconstruction_terms(self, active: Entries, c: Tensor, x: Tensor, x_hat: Tensor) -> dict[str, Tensor]:
        """Return the terms of the reconstruction by name."""
        return {"l2": (x - x_hat).square().sum(dim=-1)}

    def absolute_auxiliary_loss(self, encoded: PreActivations, dead: Tensor, error: Tensor, step: LossInputs) -> Tensor:
        """Return aux with `--aux-form absolute`; see `auxiliary_loss`."""
        entries = encoded.select(LargestOfRow(self.aux_k, among=dead, weight=self.weight(dead), positive=False))
        missed = error - entries.decode(entries.pre, self.W_dec)
        return step.mean(missed.square().sum(dim=-1)) * min(len(dead) / self.aux_k, 1)

    def auxiliary_loss(self, encoded: PreActivations, dead: Tensor, error: Tensor, step: LossInputs) -> Tensor:
        """Return aux from the dead features int64 [n] and e = x − x̂ [rows, d_model]."""
        entries = encoded.select(LargestOfRow(self.aux_k, among=dead, weight=self.weight(dead)))
        missed = error - entries.decode(relu(entries.pre), self.W_dec)
        spread = step.mean((error - step.mean(error)).square().sum(dim=-1))
        return (step.mean(missed.square().sum(dim=-1)) / spread).nan_to_num(0.0, posinf=0.0, neginf=0.0)

    def initialise_at_(self, x: Tensor) -> None:
        """Set b_dec to the geometric median of the first batch, normalised inputs [rows, d_model], or to its mean."""
        if self.settings.bias_start != "zero":
            self.b_dec.copy_(x.mean(dim=0) if self.settings.bias_start == "mean" else geometric_median(x))


def geometric_median(x: Tensor, *, most: int = 100, tolerance: float = 1e-5) -> Tensor:
    """Return the point with the least sum of distances to rows x [rows, d], by Weiszfeld's iteration: [d]."""
    point = x.mean(dim=0)
    for _ in range(most):
        weights = 1 / torch.linalg.vector_norm(x - point, dim=1).clamp(min=1e-12)  # a row may be the point
        before, point = point, (weights / weights.sum()) @ x
        if float(torch.linalg.vector_norm(point - before)) < tolerance:
            break
    return point
