"""The settings of JumpReLU."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from data.command.option_types import Number
from data.errors import InputError
from train.variants.base import (
    ArchitectureSettings,
    Beta1,
    Coefficient,
    DeadAfter,
    Sizes,
    StartNorm,
    SubtractBias,
    UnitDecoder,
)


@dataclass(frozen=True)
class JumpReLUSettings(ArchitectureSettings):
    """The sparsity term and its coefficient, the kernel's width ε, and the thresholds' start."""

    l1: Coefficient = 1e-3
    sparsity: Annotated[
        Literal["step", "quadratic", "quadratic-row", "target", "tanh"],
        "The sparsity term: L0, its distance from --target-l0 (`target`: adjusted until they agree), or tanh of c.",
    ] = "step"
    target_l0: Annotated[float, Number(0, above=True), "Mean L0 that the sparsity term aims at."] = 20.0
    bandwidth: Annotated[
        float, Number(0, above=True), "Width ε of the kernel that estimates the thresholds' gradients."
    ] = 1e-3
    threshold: Annotated[float, Number(0), "Thresholds at the start."] = 1e-3
    ste_to_input: Annotated[bool, "The estimated gradients reach the pre-activations too."] = False
    l0_of: Annotated[
        Literal["pre-activations", "activations"], "What the thresholds' gradient of L0 is estimated from."
    ] = "pre-activations"
    pre_act_loss: Annotated[float, Number(0), "Coefficient of the loss on dead features' pre-activations; 0: none."] = (
        0.0
    )
    dead_after: DeadAfter = 1
    subtract_bias: SubtractBias = True
    unit_decoder: UnitDecoder = True
    start_norm: StartNorm = 1.0
    adam_beta1: Beta1 = field(default=0.0, kw_only=True)

    @property
    def adjusted_to(self) -> float:
        return self.target_l0 if self.sparsity == "target" else 0.0

    def check(self, sizes: Sizes) -> None:
        super().check(sizes)
        if not self.target_l0 and self.sparsity not in ("step", "tanh"):
            raise InputError(f"--target-l0 0: --sparsity {self.sparsity} divides by it; give more than 0")

    def without_effect(self) -> dict[str, str]:
        reasons: dict[str, str] = {}
        if self.sparsity in ("step", "tanh"):
            reasons["target_l0"] = "unless --sparsity is target, quadratic or quadratic-row"
        if self.sparsity == "target":
            why = "with --sparsity target, whose coefficient is the inputs' mean ‖x‖²"
            reasons |= {"l1": why, "l1_warmup": why}
        if self.sparsity == "tanh":
            reasons["l0_of"] = "with --sparsity tanh"
        if not self.pre_act_loss:
            reasons["dead_after"] = "with --pre-act-loss 0"
        return reasons
