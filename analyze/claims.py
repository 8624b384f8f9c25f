"""The post's claims and the rule by which each is decided: an interval against a margin, and nothing else.

    holds             the whole interval lies beyond the margin (or within it, for a claim of no difference)
    does not hold     it lies on the other side
    not enough data   it lies across, or what the statistic needs is not there

One seed hides how much training itself varies; intervals are over documents, or over layers where it is said.

Not here: measuring, figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import spearmanr

from analyze import bootstrap
from analyze.bootstrap import Float
from analyze.estimates import Estimate
from analyze.tables import Row

Verdict = Literal["holds", "does not hold", "not enough data"]

FEWEST_LAYERS = 10  # of a relation over layers


@dataclass(frozen=True)
class Claim:
    """A claim, the statistic that it comes down to, and what became of it."""

    claim: str
    statistic: str
    margin: str
    value: float | None
    low: float | None
    high: float | None
    verdict: Verdict

    def line(self) -> Row:
        return dict(vars(self))


def beyond(low: float, high: float, margin: float) -> Verdict:
    """Of a claim that something is more than a margin."""
    if low > margin:
        return "holds"
    return "does not hold" if high < margin else "not enough data"


def within(low: float, high: float, margin: float) -> Verdict:
    """Of a claim that something is nothing: its interval must lie in ±margin; not being significant is not enough."""
    if -margin < low and high < margin:
        return "holds"
    return "does not hold" if low > margin or high < -margin else "not enough data"


def decided(claim: str, statistic: str, found: Estimate | None, margin: float, *, none: bool = False) -> Claim:
    """A claim on an estimate: that it is beyond the margin, or (`none`) within it on both sides of 0."""
    sign = f"within ±{margin:g}" if none else f"more than {margin:g}"
    if found is None or not np.isfinite(found.replicates).all():
        return Claim(claim, statistic, sign, None if found is None else found.value, None, None, "not enough data")
    low, high = found.interval
    return Claim(claim, statistic, sign, found.value, low, high, (within if none else beyond)(low, high, margin))


@dataclass(frozen=True)
class Relation:
    """How log L0 goes with log mean norm over layers: the slope by least squares, its replicates over resampled
    layers, the permutation p of no relation, and Spearman's ρ."""

    slope: Estimate
    p: float
    rho: float


def relation(norms: Float, l0: Float, *, seed: int = 0, resamples: int = bootstrap.RESAMPLES) -> Relation | None:
    """Of mean norms [layers] and L0 [layers], both above 0; None with fewer than FEWEST_LAYERS of them.

    Two relations over the same layers, with one seed, are resampled alike.
    """
    kept = l0 > 0
    if len(norms) < FEWEST_LAYERS or not kept.all():
        return None
    x, y = np.log(norms), np.log(l0)
    rng = np.random.default_rng(seed)
    picks = rng.integers(len(x), size=(resamples, len(x)))
    while (alike := (x[picks] == x[picks][:, :1]).all(axis=1)).any():  # one layer, drawn over and over
        picks[alike] = rng.integers(len(x), size=(int(alike.sum()), len(x)))
    value = float(_slope(x, y))
    shuffled = np.stack([rng.permutation(y) for _ in range(resamples)])
    p = (1 + np.sum(np.abs(_slope(np.broadcast_to(x, shuffled.shape), shuffled)) >= abs(value))) / (1 + resamples)
    rho = spearmanr(x, y).statistic
    return Relation(Estimate(value, np.asarray(_slope(x[picks], y[picks]))), float(p), float(rho))


def _slope(x: Float, y: Float) -> Float:
    """Least squares along the last axis."""
    dx = x - x.mean(axis=-1, keepdims=True)
    return np.asarray((dx * (y - y.mean(axis=-1, keepdims=True))).sum(axis=-1) / np.square(dx).sum(axis=-1))
