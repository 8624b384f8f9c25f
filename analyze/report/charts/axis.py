"""Axes of charts: their domain, whether they are logarithmic, and the labelled values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

SQUASHED = 0.25  # an axis is logarithmic if half of the values lie in this lowest share of its length
MOST_OF_BARS = 0.5  # error bars lengthen an axis at each end by at most this share of the values' range
PADDING = 0.04  # share of an axis that stays free at each end
N_TICKS = 5
FEWEST_TICKS = 3
LINEAR = 1e6  # Vega's symlog scale is linear below its constant, and logarithmic far above it


@dataclass(frozen=True)
class Axis:
    """An axis from `low` to `high` with labels at `ticks`."""

    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    @property
    def symlog_constant(self) -> float:
        """The constant for which Vega's symlog scale, sign(x) log(1 + |x / constant|), is this axis.

        A Vega scale cannot change from linear to logarithmic with a menu, but its constant can change.
        """
        return self.low / LINEAR if self.log else max(abs(self.low), abs(self.high)) * LINEAR

    def to_json(self) -> dict[str, Any]:
        """Return the axis for a chart's expressions."""
        return {"domain": [self.low, self.high], "ticks": list(self.ticks), "constant": self.symlog_constant}


def fit_axis(values: Iterable[float], bars: Iterable[float] = (), *, log: bool | None = None) -> Axis:
    """Return an axis for values; from 0 to 1 (logarithmic: 1 to 10) without a finite one.

    bars: ends of error bars. An axis that would be mostly error bars cuts them off.
    log: whether the axis is logarithmic, if all values are positive; None: if it otherwise would be squashed.
    """
    shown = [value for value in values if math.isfinite(value)]
    if not shown:
        return Axis(1.0, 10.0, (1.0, 2.0, 5.0, 10.0), True) if log else Axis(0.0, 1.0, ticks(0.0, 1.0))
    logarithmic = is_logarithmic(shown, log)
    scale, unscale = (math.log10, _power_of_10) if logarithmic else (float, float)
    low, high = scale(min(shown)), scale(max(shown))
    ends = [scale(bar) for bar in bars if math.isfinite(bar) and (bar > 0 or not logarithmic)]
    room = MOST_OF_BARS * (high - low) if high > low else math.inf
    low, high = max(min([low, *ends]), low - room), min(max([high, *ends]), high + room)
    if high == low:
        room = 0.1 if logarithmic else abs(high) * 0.1 or 1.0
        below = room if logarithmic or low else 0.0  # counts of 0 have no negative ones beside them
        low, high = low - below, high + room
    margin = PADDING * (high - low)
    ends_of_axis = _rounded(unscale(low - margin)), _rounded(unscale(high + margin))
    return Axis(*ends_of_axis, ticks(*ends_of_axis, log=logarithmic), logarithmic)


def is_logarithmic(values: Sequence[float], log: bool | None = None) -> bool:
    """Return whether the axis of values, at least one, is logarithmic; see `fit_axis`."""
    return min(values) > 0 and (squashed(values) if log is None else log)


def squashed(values: Sequence[float]) -> bool:
    """Return whether large values leave the lower half of the values a quarter of a linear axis, or less.

    Values spread evenly over a logarithmic axis are squashed if the largest is nine times the smallest or more.
    """
    return median(values) - min(values) < SQUASHED * (max(values) - min(values))


def ticks(low: float, high: float, *, log: bool = False) -> tuple[float, ...]:
    """Return the labelled values of an axis, ascending.

    Those of a logarithmic axis are 1, 2 and 5 times powers of 10, more of them if these are few, or only the powers if
    they are many. An axis too short for them is labelled as a linear one.
    """
    if log:
        exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for factors in ((1,), (1, 2, 5), (1, 2, 3, 4, 6, 8)):
            values = (_rounded(factor * 10.0**exponent) for exponent in exponents for factor in factors)
            inside = tuple(value for value in values if low <= value <= high)
            if len(inside) >= FEWEST_TICKS:
                return inside
    step = _round_step((high - low) / N_TICKS)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(_rounded(i * step) for i in range(first, last + 1))


def _round_step(step: float) -> float:
    """Return the largest of 1, 2 and 5 times a power of 10 that is at most 1.4 times the step."""
    power = 10.0 ** math.floor(math.log10(step))
    return max(factor * power for factor in (1, 2, 5, 10) if factor * power <= 1.4 * step)


def _power_of_10(exponent: float) -> float:
    return 10.0**exponent


def _rounded(value: float) -> float:
    """Return a value to 10 digits, so that 3 · 0.1 is 0.3."""
    return float(f"{value:.10g}")
