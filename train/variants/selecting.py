"""The settings of architectures that select the k largest pre-activations."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Literal

from data.command.option_types import NAME, Count, Number
from data.errors import InputError
from train.variants.base import ArchitectureSettings, DeadAfter, Sizes, StartNorm, UnitDecoder

SHARE = r"[0-9]{1,9}(\.[0-9]{1,9}|/[0-9]{1,9})?|\.[0-9]{1,9}"  # 1/32, 0.5, .5


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
