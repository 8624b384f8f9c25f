"""The settings of each architecture, which become options of `train`, entries of run.json and columns of the report.

They are apart from the architectures because `train --help` reads them without importing PyTorch. A field's annotation
has the type of its option and a sentence of help; its default is the option's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Annotated, Any, Literal, Self

from data.command.option_types import NAME, Count, Number, suggestion
from data.errors import InputError
from train.plugins import declared, known_plugin
from train.presets import presets

_PRESETS = {name: {key: value for key, (value, *_) in preset.values.items()} for name, preset in presets().items()}
# Settings that earlier versions recorded in steps, and the names that they have in rows.
IN_STEPS = {"threshold_start": "threshold_after", "p_start_step": "anneal_after"}

SHARE = r"[0-9]{1,9}(\.[0-9]{1,9}|/[0-9]{1,9})?|\.[0-9]{1,9}"  # 1/32, 0.5, .5

Coefficient = Annotated[float, Number(0), "Sparsity coefficient: α in the post, λ elsewhere."]
Beta1 = Annotated[float, Number(0, 0.9999), "Adam's β₁, the share of the mean gradient that a step keeps."]
Beta2 = Annotated[float, Number(0, 0.999999), "Adam's β₂, the share of the mean squared gradient that a step keeps."]
Epsilon = Annotated[float, Number(0, above=True), "Adam's ε, added to the root of the mean squared gradient."]
UnitDecoder = Annotated[bool, "Decoder rows are kept at norm 1; else `topk` and its kin compare f times their norms."]
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
        """Return the settings that have no effect, given the others, and why: "with …", "unless …"."""
        return {}


@dataclass(frozen=True)
class AdjustedSettings(ArchitectureSettings):
    """The base class of settings with a coefficient that may be adjusted to a target (sae/l0_control.py)."""

    target_l0: TargetL0 = field(default=0.0, kw_only=True)

    @property
    def adjusted_to(self) -> float:
        return self.target_l0

    def without_effect(self) -> dict[str, str]:
        return {"l1": "with --target-l0, which adjusts the coefficient"} if self.target_l0 else {}


@dataclass(frozen=True)
class BaselineSettings(AdjustedSettings):
    """α, and the power p in β = α · normᵖ."""

    l1: Coefficient = _PRESETS["baseline_1"]["l1"]
    l1_power: Annotated[int, Count(zero=True, most=4), "Power p in β = α · normᵖ, the coefficient of ‖c‖₁."] = 0

    @classmethod
    def default_lr(cls, d_sae: int | None) -> float:
        return float(_PRESETS["baseline_1"]["lr"])


@dataclass(frozen=True)
class NSAESettings(AdjustedSettings):
    """α, the power p in β = α · normᵖ, and the noise's standard deviation."""

    l1: Coefficient = _PRESETS["normalized_1"]["l1"]
    l1_power: Annotated[int, Count(zero=True, most=4), "Power p in β = α · normᵖ, the coefficient of ‖c‖₁."] = 2
    sigma: Annotated[float, Number(0), "Standard deviation of NSAE's noise."] = float(_PRESETS["normalized_1"]["sigma"])

    @classmethod
    def default_lr(cls, d_sae: int | None) -> float:
        return float(_PRESETS["normalized_1"]["lr"])


@dataclass(frozen=True)
class ReLUSettings(AdjustedSettings):
    """The coefficient λ of Σ fᵢ‖dᵢ‖, and what the encoder sees."""

    l1: Coefficient = 5.0
    subtract_bias: SubtractBias = False
    start_norm: StartNorm = 0.1


@dataclass(frozen=True)
class GatedSettings(AdjustedSettings):
    """The coefficient λ of the gates' L1, what the auxiliary reconstruction trains, and constraints."""

    l1: Coefficient = 0.1
    aux_decoder: Annotated[
        Literal["stopped", "trained"], "Whether the gates' own reconstruction trains the decoder and b_dec."
    ] = "stopped"
    l1_weight: Annotated[Literal["none", "decoder-norm"], "What each gate's L1 is multiplied by."] = "none"
    unit_decoder: UnitDecoder = True
    start_norm: StartNorm = 1.0
    adam_beta1: Beta1 = field(default=0.0, kw_only=True)


@dataclass(frozen=True)
class FrozenSettings(ArchitectureSettings):
    """The number of active features, the auxiliary loss on dead features, and the start."""

    k: Annotated[int, Count(), "Number of active features per row."] = 32
    aux: Annotated[float, Number(0), "Coefficient of the auxiliary loss of dead features; 0: none."] = 1 / 32
    aux_k: Annotated[int, Count(zero=True), "Dead features per row in the auxiliary loss; 0: half of d_model."] = 0
    aux_form: Annotated[
        Literal["relative", "absolute"], "Whether the auxiliary loss is divided by the error's variance."
    ] = "relative"
    dead_after: DeadAfter = 10_000_000
    bias_start: Annotated[
        Literal["median", "mean", "zero"], "b_dec at the start: the first batch's geometric median, its mean, or 0."
    ] = "median"
    start_norm: StartNorm = 1.0

    def without_effect(self) -> dict[str, str]:
        return {} if self.aux else dict.fromkeys(("aux_k", "aux_form", "dead_after"), "with --aux 0")

    @classmethod
    def default_lr(cls, d_sae: int | None) -> float:
        """Return the scaling law of Gao et al. 2024, Fig. 3."""
        return math.nan if d_sae is None else 2e-4 / (d_sae / 2**14) ** 0.5

    def check(self, sizes: Sizes) -> None:
        if sizes.d_sae is not None and self.k > sizes.d_sae:
            raise InputError(f"--k {self.k}: is more than the {sizes.d_sae} features; give less, or more --expansion")


@dataclass(frozen=True)
class TopKSettings(FrozenSettings):
    """The same, and whether the decoder's rows are constrained."""

    unit_decoder: UnitDecoder = True


@dataclass(frozen=True)
class BatchTopKSettings(TopKSettings):
    """The same, with k active features per row in the mean of a batch, and the running mean of the threshold."""

    threshold_decay: Annotated[float, Number(0, 1), "Share of the running threshold that a step keeps."] = 0.99
    threshold_after: Annotated[int, Count(zero=True), "Rows after which the running threshold is updated."] = 0
    threshold_first: Annotated[
        Literal["batch", "zero"], "What the running threshold begins with: the smallest activation of a batch, or 0."
    ] = "batch"


@dataclass(frozen=True)
class MatryoshkaSettings(BatchTopKSettings):
    """The same, and the shares of the features that each prefix adds."""

    prefixes: Annotated[str, NAME, "Shares of the features that each nested prefix adds, with + between them."] = (
        "1/32+1/16+1/8+1/4+17/32"
    )
    prefix_loss: Annotated[
        Literal["mean", "sum", "mean-of-shares"],
        "How the n prefixes' squared errors are combined: averaged, added, or added and divided by n².",
    ] = "mean"

    def prefix_ends(self, d_sae: int) -> list[int]:
        """Return the number of features in each nested prefix; the last has all. Raises ValueError."""
        shares = self.prefixes.split("+")
        if not all(re.fullmatch(SHARE, share.strip()) for share in shares):
            raise ValueError
        fractions = [Fraction(share.strip()) for share in shares]
        if min(fractions) <= 0 or sum(fractions) > 1:
            raise ValueError
        sizes = [int(fraction * d_sae) for fraction in fractions[:-1]]
        return [sum(sizes[: i + 1]) for i in range(len(sizes))] + [d_sae]

    def check(self, sizes: Sizes) -> None:
        super().check(sizes)
        option = f"--prefixes {self.prefixes[:80]}"
        try:
            ends = self.prefix_ends(sizes.d_sae or 0)
        except (ValueError, ZeroDivisionError) as error:
            raise InputError(f"{option}: give shares of at most 1 in all, such as 1/4+1/4+1/2") from error
        empty = next((i for i, end in enumerate(ends) if end <= (ends[i - 1] if i else 0)), None)
        if sizes.d_sae is not None and empty is not None:
            raise InputError(
                f"{option}: prefix {empty + 1} adds less than one of the {sizes.d_sae} features; give larger shares, "
                "or more --expansion"
            )


@dataclass(frozen=True)
class JumpReLUSettings(ArchitectureSettings):
    """The sparsity term and its coefficient, the kernel's width ε, and the thresholds' start."""

    l1: Coefficient = 1e-3
    sparsity: Annotated[
        Literal["step", "quadratic", "quadratic-row", "target", "tanh"],
        "The sparsity term: L0, its distance from --target-l0 (`target`: adjusted until they agree), or tanh of f.",
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
        if self.sparsity == "tanh":
            reasons["l0_of"] = "with --sparsity tanh"
        if not self.pre_act_loss:
            reasons["dead_after"] = "with --pre-act-loss 0"
        return reasons


@dataclass(frozen=True)
class PAnnealSettings(AdjustedSettings):
    """The coefficient of Σ|fᵢ|ᵖ, and how p falls."""

    l1: Coefficient = 0.1
    penalty: Annotated[Literal["sum", "norm"], "Whether the penalty is Σ|f|ᵖ, or ‖f‖ₚ, its root of order p."] = "sum"
    p_end: Annotated[float, Number(0, 1), "The last p of the penalty Σ|f|ᵖ, which starts at 1."] = 0.2
    anneal_after: Annotated[
        int | None, Count(zero=True), "Rows after which p begins to fall; 4% of --activations by default."
    ] = None
    p_updates: Annotated[int | None, Count(), "Number of values that p takes; 10 by default, at most one per step."] = (
        None
    )
    start_norm: StartNorm = 1.0

    def completed(self, sizes: Sizes) -> Self:
        """Let p begin to fall after 4% of the training: 10 000 steps of 2048 rows in SAEBench's 500M."""
        if sizes.activations is None or sizes.batch_size is None:
            return self
        after, updates = self.anneal_after, self.p_updates
        if after is None:
            after = sizes.activations // 25
            after = after if after >= sizes.batch_size else 0  # a short run anneals from its first step on
        if updates is None:
            updates = max(min(10, self._steps_left(sizes.activations, sizes.batch_size, after) + 1), 2)
        return replace(self, anneal_after=after, p_updates=updates)

    @staticmethod
    def _steps_left(activations: int, batch_size: int, after: int) -> int:
        """Return the number of steps that begin at `after` rows or later."""
        return activations // batch_size - -(-after // batch_size)

    def check(self, sizes: Sizes) -> None:
        super().check(sizes)
        if self.penalty == "norm" and self.p_end == 0:
            raise InputError("--penalty norm: has no root of order 0; give a --p-end above 0, or --penalty sum")
        if self.p_updates is not None and self.p_updates < 2:
            raise InputError(f"--p-updates {self.p_updates}: p would stay 1; give 2 or more")
        if sizes.activations is None or sizes.batch_size is None or self.anneal_after is None or self.p_updates is None:
            return
        steps = self._steps_left(sizes.activations, sizes.batch_size, self.anneal_after)
        if steps < 1:
            raise InputError(
                f"--anneal-after {self.anneal_after:,}: p would stay 1 until the end of --activations "
                f"{sizes.activations:,}; give less"
            )
        if self.p_updates > steps + 1:
            raise InputError(
                f"--p-updates {self.p_updates:,}: is more than the {steps + 1:,} steps from --anneal-after on; give at "
                "most that"
            )


def in_rows(settings: Mapping[str, Any], batch_size: int) -> dict[str, Any]:
    """Return recorded settings, with those in rows that earlier versions recorded in steps."""
    steps = {new: settings[old] for old, new in IN_STEPS.items() if old in settings}
    rows = {name: n * batch_size if isinstance(n, int) else n for name, n in steps.items()}
    return {**{name: value for name, value in settings.items() if name not in IN_STEPS}, **rows}


SETTINGS: dict[str, type[ArchitectureSettings]] = {
    "baseline": BaselineSettings,
    "nsae": NSAESettings,
    "relu": ReLUSettings,
    "gated": GatedSettings,
    "topk": TopKSettings,
    "batchtopk": BatchTopKSettings,
    "jumprelu": JumpReLUSettings,
    "matryoshka": MatryoshkaSettings,
    "p-anneal": PAnnealSettings,
    "frozen": FrozenSettings,
}


def known_variants() -> list[str]:
    """Return the names of all variants except the classes that a user names as MODULE:CLASS."""
    return [*SETTINGS, *declared()]


def settings_of(variant: str) -> type[ArchitectureSettings]:
    """Return the settings' class of a variant. Raises InputError if there is no such variant."""
    if variant in SETTINGS:
        return SETTINGS[variant]
    plugin = known_plugin(variant)
    if plugin is None:
        raise InputError(
            f"--variant {variant[:80]}: there is no such variant; "
            + suggestion(variant, known_variants(), f"give {', '.join(SETTINGS)}, or MODULE:CLASS")
        )
    settings: type[ArchitectureSettings] = plugin.Settings
    if not issubclass(settings, ArchitectureSettings):
        raise InputError(f"--variant {variant}: its Settings are no subclass of train.variants.ArchitectureSettings")
    return settings
