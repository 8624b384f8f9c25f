"""JumpReLU (Rajamanoharan et al. 2024, arXiv 2407.14435): each feature has a threshold, which is learned.

    c = π ⊙ H(π − θ),   loss = ‖x − x̂‖² + λ S

S is Σᵢ H(πᵢ − θᵢ) ("step"), ((L0 / t) − 1)² of the batch's mean L0 ("quadratic"), or (2/t)(L0 − t)² of each row
("quadratic-row", Gemma Scope 2), or Σᵢ tanh(4 cᵢ‖dᵢ‖) ("tanh", Anthropic, January 2025). "target" is the quadratic
one, linear from a distance of CLIP on; its t is adjusted until L0 is `--target-l0` (sae/l0_controller.py), because its
minimum lies above t. Its λ is the batch's mean ‖x‖², because the squared error that one more active feature saves grows
with it: with a fixed λ, inputs of E‖x‖² = 288 kept L0 at 5 times the target.

H has no gradient, so it is estimated by a kernel of width ε, K(z) = 1 for |z| < ½, else 0:

    ∂c/∂θ = −(θ/ε) K((π − θ)/ε),   ∂H/∂θ = −(1/ε) K((π − θ)/ε)

`--l0-of activations` puts c for π into ∂H/∂θ, as dictionary_learning does. `--pre-act-loss` adds Anthropic's
λ_P Σ ReLU(θᵢ − πᵢ)‖dᵢ‖, of the features that are dead; with `--dead-after 1` all are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import huber_loss

from train.sae.entries import PreActivations
from train.sae.l0_controller import ControlLaw
from train.sae.pairwise import PairwiseSAE
from train.sae.selection import Above
from train.sae.tensors import LINEAR_MAPS, UNIT_ROWS, TensorSpec
from train.sae.training_pass import LossInputs, TrainingPass
from train.variants import JumpReLUSettings

TANH_SCALE = 4.0
CLIP = 0.3  # of the relative distance of L0 from its setpoint: Adam's second moments would remember a larger gradient
SMALLEST = 1e-30  # threshold that is divided by at least


class JumpReLUSAE(PairwiseSAE):
    """A JumpReLU SAE. `SAE` has the shapes; threshold [..., d_sae] is θ, at least 0."""

    variant = "jumprelu"
    uses_split = True
    Settings = JumpReLUSettings
    l0_law = ControlLaw(integral=-0.003, within=0.1)
    l0_controlled_by = "setpoint"
    trained: ClassVar[Mapping[str, TensorSpec]] = {
        **LINEAR_MAPS, "W_dec": UNIT_ROWS, "threshold": TensorSpec(("d_sae",)),
    }  # fmt: skip
    settings: JumpReLUSettings
    threshold: Tensor

    @property
    def rows_until_dead(self) -> int | None:
        return self.settings.dead_after if self.settings.pre_act_loss else None

    @property
    def sees(self) -> str:  # type: ignore[override]
        return "batch" if self.settings.sparsity in ("quadratic", "target") else "row"

    def activations(self, x: Tensor, epsilon: Tensor | None = None) -> Tensor:
        pre = self.pre_activations(x)
        return pre * (pre > self.threshold[..., None, :])

    def loss_on(self, encoded: PreActivations, x: Tensor, step: LossInputs) -> TrainingPass:
        settings = self.settings
        # Entries within half a width of the threshold have a gradient, active or not.
        near = encoded.select(Above(self._lower_limit()))
        theta = near.spread(self.threshold)
        c = jump(near.pre, theta, settings.bandwidth, settings.ste_to_input)
        x_hat = near.decode(c, self.W_dec) + self.b_dec
        if settings.sparsity == "tanh":
            norms = near.spread(torch.linalg.vector_norm(self.W_dec, dim=-1))
            sparsity = near.row_sums(torch.tanh(TANH_SCALE * c * norms))
        else:
            of = near.pre if settings.l0_of == "pre-activations" else c
            l0 = near.row_sums(heaviside(of, theta, settings.bandwidth, settings.ste_to_input))
            sparsity = self._sparsity(l0, step)
        terms = {
            "l2": (x - x_hat).square().sum(dim=-1),
            "sparsity": self._coefficient(sparsity, x, step) * sparsity,
        }
        if settings.pre_act_loss:
            of_dead = self._pre_act_loss(encoded, step.dead) if step.dead.any() else x.new_zeros(())
            terms["pre_act"] = settings.pre_act_loss * of_dead
        return TrainingPass(x_hat, near.row_sums(c).detach(), near.counts(c), terms)

    def _lower_limit(self) -> Tensor:
        """Return the limit per feature that an entry with a gradient exceeds: [d_sae]."""
        lower = self.threshold.detach() - self.settings.bandwidth / 2
        # A c of 0 is within half a width of such thresholds.
        return lower if self.settings.l0_of == "pre-activations" else lower.masked_fill(lower < 0, -torch.inf)

    def _pre_act_loss(self, encoded: PreActivations, dead: Tensor) -> Tensor:
        """Return Σ ReLU(θᵢ − πᵢ)‖dᵢ‖ of each row over the dead features, bool [d_sae]."""
        entries = encoded.select(Above(-torch.inf, among=torch.nonzero(dead)[:, 0]))
        weights = entries.spread(torch.linalg.vector_norm(self.W_dec, dim=-1) * dead)
        return entries.row_sums((entries.spread(self.threshold) - entries.pre).relu() * weights)

    def _sparsity(self, l0: Tensor, step: LossInputs) -> Tensor:
        """Return S from the L0 of each row [rows]."""
        target = self.settings.target_l0
        if self.settings.sparsity == "target":
            setpoint = target if step.l0_setpoint is None else step.l0_setpoint
            return 2 * huber_loss(step.mean(l0) / setpoint, l0.new_ones(()), delta=CLIP)
        if self.settings.sparsity == "quadratic":
            return (step.mean(l0) / target - 1).square()
        return 2 / target * (l0 - target).square() if self.settings.sparsity == "quadratic-row" else l0

    def _coefficient(self, sparsity: Tensor, x: Tensor, step: LossInputs) -> Tensor:
        """Return λ of the sparsity term: of each row [rows], or of the batch."""
        if self.settings.sparsity == "target":
            return step.mean(x.square().sum(dim=-1))
        return step.beta if sparsity.dim() else step.mean(step.beta)

    def first_control(self, *, mean_norm: float, l2_weight: float) -> float:
        return self.settings.target_l0

    def compared(self, x: Tensor) -> Tensor:
        return self.pre_activations(x) / self.threshold.clamp(min=SMALLEST)[..., None, :]

    @property
    def threshold_in_use(self) -> float:
        return 1.0

    def set_threshold_(self, threshold: float) -> None:
        self.threshold.mul_(threshold)

    def constrain_(self) -> None:
        """Keep unit decoder rows, and thresholds at 0 or more: below, negative pre-activations would pass."""
        super().constrain_()
        self.threshold.clamp_(min=0)

    def initialise(self, *, seed: int, mean_norm: float) -> None:
        """As other SAEs with selected entries; the thresholds start at `--threshold`."""
        super().initialise(seed=seed, mean_norm=mean_norm)
        self.threshold.fill_(self.settings.threshold)

    def reset_features_(self, features: Tensor, x: Tensor, *, encoder_norm: float, decoder_norm: float) -> None:
        super().reset_features_(features, x, encoder_norm=encoder_norm, decoder_norm=decoder_norm)
        self.threshold[features] = self.settings.threshold


class _Jump(Function):
    """π H(π − θ), with the estimated gradient of θ; if `to_input`, the estimate's negative reaches π too."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, theta: Tensor, width: float, to_input: bool) -> Tensor:
        ctx.save_for_backward(pre, theta)
        ctx.width, ctx.to_input = width, to_input
        return pre * (pre > theta)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        pre, theta = ctx.saved_tensors
        estimate = g * theta * kernel(pre - theta, ctx.width)
        dpre = g * (pre > theta)
        return (dpre + estimate if ctx.to_input else dpre), _like(-estimate, theta), None, None


class _Step(Function):
    """H(π − θ), with the estimated gradient of θ; if `to_input`, the estimate's negative reaches π too."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, theta: Tensor, width: float, to_input: bool) -> Tensor:
        ctx.save_for_backward(pre, theta)
        ctx.width, ctx.to_input = width, to_input
        return (pre > theta).to(pre.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        pre, theta = ctx.saved_tensors
        estimate = g * kernel(pre - theta, ctx.width)
        return (estimate if ctx.to_input else None), _like(-estimate, theta), None, None


def kernel(distance: Tensor, width: float) -> Tensor:
    """Return K(distance / width) / width: 1 / width within half a width of 0, else 0."""
    return (distance.abs() < width / 2).to(distance.dtype) / width


def _like(gradient: Tensor, theta: Tensor) -> Tensor:
    """Sum a gradient over the rows that θ [d_sae] was broadcast to."""
    return gradient.sum(dim=0) if gradient.dim() > theta.dim() else gradient


jump: Callable[..., Tensor] = _Jump.apply
heaviside: Callable[..., Tensor] = _Step.apply
