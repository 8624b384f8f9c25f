"""Numbers that decide claims, each with an interval and p-values against a margin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from analyze.compare.equal_l0.difference import Difference
from analyze.statistics.jackknife import LEVEL
from analyze.statistics.replicas import overturning_seed_spread
from analyze.statistics.slopes import FEWEST_LAYERS, LayerFit


class Evidence(Protocol):
    """A number of trained SAEs that a claim compares with its margin."""

    @property
    def value(self) -> float:
        """The number."""

    @property
    def detectable(self) -> float | None:
        """The smallest detectable difference; None where it is unknown."""

    @property
    def n_seeds(self) -> int:
        """The number of seeds that it comes from."""

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Return the interval (low, high)."""

    def p_above(self, margin: float) -> float:
        """Return the one-sided p-value of the number's lying above the margin."""

    def p_below(self, margin: float) -> float:
        """Return the one-sided p-value of the number's lying below the margin."""

    def why_not(self, margin: float) -> str:
        """Return why the number decides nothing at this margin, whatever its p-value; empty if it may."""

    def overturning_spread(self, margin: float) -> float | None:
        """Return the spread over seeds from which one seed's number would no longer be decided; None if unknown."""


@dataclass(frozen=True)
class OverDocuments:
    """A difference between replicas of two families, measured on documents."""

    difference: Difference

    @property
    def value(self) -> float:
        return self.difference.value

    @property
    def detectable(self) -> float | None:
        return self.difference.detectable

    @property
    def n_seeds(self) -> int:
        return self.difference.n_seeds

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        half_width = self.difference.half_width(level)
        return self.value - half_width, self.value + half_width

    def p_above(self, margin: float) -> float:
        return self.difference.variances.p_above(self.value, margin + self.difference.interpolation_error)

    def p_below(self, margin: float) -> float:
        return self.difference.variances.p_above(-self.value, -margin + self.difference.interpolation_error)

    def why_not(self, margin: float) -> str:
        return self.difference.why_undecidable(margin)

    def overturning_spread(self, margin: float) -> float | None:
        if not self.difference.n_groups:
            return None
        spread, error = self.difference.variances, self.difference.interpolation_error
        return overturning_seed_spread(self.value - margin, error, spread.groups, spread.group_degrees)


@dataclass(frozen=True)
class AsExcess:
    """A ratio minus 1, from the ratio's logarithm."""

    logarithm: OverDocuments

    @property
    def value(self) -> float:
        return math.expm1(self.logarithm.value)

    @property
    def detectable(self) -> float | None:
        known = self.logarithm.detectable
        return None if known is None else math.expm1(known)

    @property
    def n_seeds(self) -> int:
        return self.logarithm.n_seeds

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        low, high = self.logarithm.interval(level)
        return math.expm1(low), math.expm1(high)

    def p_above(self, margin: float) -> float:
        return self.logarithm.p_above(math.log1p(margin))

    def p_below(self, margin: float) -> float:
        return self.logarithm.p_below(math.log1p(margin))

    def why_not(self, margin: float) -> str:
        return self.logarithm.why_not(math.log1p(margin))

    def overturning_spread(self, margin: float) -> float | None:
        spread = self.logarithm.overturning_spread(math.log1p(margin))
        return None if spread is None else math.expm1(spread)


@dataclass(frozen=True)
class OverLayers:
    """A number from fits over the layers of one model: the smallest of some coefficients."""

    fits: Sequence[LayerFit]
    n_layers: int
    n_seeds: int = 1
    detectable: float | None = None

    @property
    def value(self) -> float:
        return min(fit.value for fit in self.fits)

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        lows, highs = zip(*(fit.interval(level) for fit in self.fits), strict=True)
        return min(lows), min(highs)

    def p_above(self, margin: float) -> float:
        return max(fit.p_above(margin) for fit in self.fits)

    def p_below(self, margin: float) -> float:
        return min(1.0, len(self.fits) * min(fit.p_below(margin) for fit in self.fits))

    def why_not(self, margin: float) -> str:
        return "" if self.n_layers >= FEWEST_LAYERS else f"{self.n_layers} layers, fewer than {FEWEST_LAYERS}"

    def overturning_spread(self, margin: float) -> float | None:
        return None
