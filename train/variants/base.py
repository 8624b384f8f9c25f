"""The base class of all architectures' settings, and the types of settings that several of them share.

A field's annotation has the type of its option and a sentence of help; its default is the option's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Self

from data.command.option_types import Count, Number
from data.errors import InputError

Coefficient = Annotated[float, Number(0), "Sparsity coefficient: α in the post, λ elsewhere."]
Beta1 = Annotated[float, Number(0, 0.9999), "Adam's β₁, the share of the mean gradient that a step keeps."]
Beta2 = Annotated[float, Number(0, 0.999999), "Adam's β₂, the share of the mean squared gradient that a step keeps."]
Epsilon = Annotated[float, Number(0, above=True), "Adam's ε, added to the root of the mean squared gradient."]
UnitDecoder = Annotated[
    bool,
    "Decoder rows are kept at norm 1. If not, `topk`, `batchtopk` and `matryoshka` compare c times the rows' norms.",
]
SubtractBias = Annotated[bool, "The encoder sees x − b_dec rather than x."]
StartNorm = Annotated[
    float, Number(0, above=True), "Norm of encoder rows at the start, and of decoder rows that are not kept at norm 1."
]
TargetL0 = Annotated[
    float, Number(0), "Mean L0 to which training brings each layer by adjusting the coefficient; 0: --l1 is fixed."
]
DeadAfter = Annotated[int, Count(), "Rows without firing after which a feature counts as dead."]


@dataclass(frozen=True)
class Sizes:
    """The sizes that settings must fit; None: not known yet.

    d_sae: number of features. activations: rows of the training. batch_size: rows per step.
    """

    d_sae: int | None = None
    activations: int | None = None
    batch_size: int | None = None


UNKNOWN = Sizes()


@dataclass(frozen=True)
class ArchitectureSettings:
    """The base class of all settings: Adam's constants, which every architecture has."""

    adam_beta1: Beta1 = field(default=0.9, kw_only=True)
    adam_beta2: Beta2 = field(default=0.999, kw_only=True)
    adam_epsilon: Epsilon = field(default=1e-8, kw_only=True)

    @property
    def adjusted_to(self) -> float:
        """The mean L0 to which the coefficient is adjusted; 0: the coefficient is fixed, or there is none."""
        return 0.0

    @classmethod
    def default_lr(cls, d_sae: int | None) -> float:
        """Return the learning rate of a run that names none; NaN if it depends on d_sae and that is None."""
        return 3e-4

    def completed(self, sizes: Sizes) -> Self:
        """Return the settings with the defaults that follow from the sizes, as far as these are known."""
        return self

    def check(self, sizes: Sizes) -> None:
        """Raise InputError if values are impossible, or do not fit the sizes, as far as these are known."""
        if sizes.d_sae and self.adjusted_to >= sizes.d_sae:
            target = f"--target-l0 {self.adjusted_to:g}"
            raise InputError(f"{target}: is not less than the {sizes.d_sae} features; give less, or more --expansion")

    def without_effect(self) -> dict[str, str]:
        """Return the settings that have no effect, given the others, and why: "with …", "unless …".

        The warm-up of the coefficient, "l1_warmup", may be among them.
        """
        return {}


@dataclass(frozen=True)
class AdjustedSettings(ArchitectureSettings):
    """The base class of settings with a coefficient that may be adjusted to a target (sae/l0_controller.py)."""

    target_l0: TargetL0 = field(default=0.0, kw_only=True)

    @property
    def adjusted_to(self) -> float:
        return self.target_l0

    def without_effect(self) -> dict[str, str]:
        return {"l1": "with --target-l0, which adjusts the coefficient"} if self.target_l0 else {}
