"""The settings of architectures whose loss has a penalty on the activations."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, Self

from data.command.option_types import Count, Number
from data.errors import InputError
from train.presets import presets
from train.variants.base import AdjustedSettings, Beta1, Coefficient, Sizes, StartNorm, SubtractBias, UnitDecoder

_PRESETS = {name: {key: value for key, (value, *_) in preset.values.items()} for name, preset in presets().items()}


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
    """The coefficient λ of Σ cᵢ‖dᵢ‖, and what the encoder sees."""

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
class PAnnealSettings(AdjustedSettings):
    """The coefficient of Σ|cᵢ|ᵖ, and how p falls."""

    l1: Coefficient = 0.1
    penalty: Annotated[Literal["sum", "norm"], "Whether the penalty is Σ|c|ᵖ, or ‖c‖ₚ, its root of order p."] = "sum"
    p_end: Annotated[float, Number(0, 1), "The last p of the penalty Σ|c|ᵖ, which starts at 1."] = 0.2
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
