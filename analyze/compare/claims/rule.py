"""The rule by which a claim is decided: an interval against a margin, and nothing else.

    holds             the whole interval lies beyond the margin (or within it, for a claim of no difference)
    does not hold     it lies on the other side
    not enough data   it lies across, or what the statistic needs is not there, or the interval is by resampling so few
                      documents or layers that it is too narrow (with 4, a 95 % interval covers the truth in 79 of 100
                      cases, with 12 in 92)

A claim of no difference in several places (layers, runs) holds where it holds in each, and does not where it does not
in one: in their mean, differences would cancel.

Where a run is not trained to its end, there is no verdict, and the note names the run: what it measures is of an SAE
that is not done.

One seed hides how much training itself varies; intervals are over documents, or over layers where it is said.

Not here: what the post claims, and the statistic of each (post/).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from analyze.runs.progress import unfinished
from analyze.runs.trained_run import FittedRun
from analyze.statistics import bootstrap
from analyze.statistics.bootstrap import Float
from analyze.statistics.estimates import Estimate
from analyze.tables import Row, layers

UNFINISHED: Literal["no verdict: unfinished runs"] = "no verdict: unfinished runs"
Verdict = Literal["holds", "does not hold", "not enough data", "no verdict: unfinished runs"]

FEWEST_GROUPS = 10  # documents or layers, for an interval to decide anything
FEWEST_TO_FIT = 3  # of a line through them, whatever it is worth


@dataclass(frozen=True)
class Claim:
    """A claim, of what it is made, the statistic that it comes down to, and what became of it."""

    number: int  # of the post's claims, in FACTS' order
    claim: str
    of: str  # the runs that are compared, by family
    hook: str  # or `all`: over all of them
    statistic: str
    margin: str
    value: float | None
    low: float | None
    high: float | None
    verdict: Verdict
    note: str = ""

    def line(self) -> Row:
        return dict(vars(self))


@dataclass(frozen=True)
class Subject:
    """What a claim says, of which families, and all runs that its statistic is made of."""

    number: int
    claim: str
    of: str
    runs: Sequence[FittedRun]
    hook: str = "all"


def beyond(low: float, high: float, margin: float) -> Verdict:
    """Of a claim that something is more than a margin."""
    if low > margin:
        return "holds"
    return "does not hold" if high <= margin else "not enough data"


def within(low: float, high: float, margin: float) -> Verdict:
    """Of a claim that something is nothing: its interval must lie in ±margin; not being significant is not enough."""
    if -margin < low and high < margin:
        return "holds"
    return "does not hold" if low > margin or high < -margin else "not enough data"


def decided(
    subject: Subject, statistic: str, found: Estimate | None, margin: float, *, none: bool = False,
    parts: Sequence[Estimate] = (), note: str = "",
) -> Claim:  # fmt: skip
    """A claim on an estimate: that it is beyond the margin, or (`none`) within it on both sides of 0.

    Of a mean that is claimed to be nothing, `parts` are what it is the mean of, on which it is decided.
    """
    sign = f"{'each ' * bool(parts)}within ±{margin:g}" if none else f"more than {margin:g}"
    about = (subject.number, subject.claim, subject.of, subject.hook, statistic, sign)
    value = None if found is None else found.value
    if found is None or not np.isfinite(found.replicates).all():
        low, high = None, None
    else:
        low, high = found.interval
    missing = unfinished(subject.runs)
    if missing:
        note = "; ".join(filter(None, (f"unfinished: {missing}", note)))
        return Claim(*about, value, low, high, UNFINISHED, note)
    if found is None or low is None or high is None:
        return Claim(*about, value, low, high, "not enough data", note)
    verdict: Verdict = "not enough data"
    if found.groups >= FEWEST_GROUPS:
        verdicts = [(within if none else beyond)(*part.interval, margin) for part in parts or (found,)]
        verdict = next((v for v in ("does not hold", "not enough data") if v in verdicts), "holds")
    else:
        note = "; ".join(filter(None, (note, f"an interval over {found.groups:g} groups decides nothing")))
    return Claim(*about, value, low, high, verdict, note)


def by_layer(each: Sequence[Claim]) -> str:
    """In how many layers a claim holds, does not, and is undecided: what a mean over layers hides."""
    counts = Counter(claim.verdict for claim in each)
    says: dict[Verdict, str] = {
        "holds": "holds in", "does not hold": "does not in", "not enough data": "undecided in",
        UNFINISHED: "no verdict in",
    }  # fmt: skip
    return "by layer: " + ", ".join(f"{words} {counts[v]}" for v, words in says.items() if counts[v]) if each else ""


def named(hooks: Sequence[str]) -> str:
    """Layers by their numbers: layers 2, 4."""
    return f"layer{'s' * (len(hooks) > 1)} {', '.join(layers(hooks))}"


@dataclass(frozen=True)
class Relation:
    """How log L0 goes with log mean norm over layers: the slope by least squares, its replicates over resampled
    layers, the permutation p of no relation, and Spearman's ρ."""

    slope: Estimate
    intercept: float
    p: float
    rho: float


def relation(norms: Float, l0: Float, *, seed: int = 0, resamples: int = bootstrap.RESAMPLES) -> Relation | None:
    """Of mean norms [layers] and L0 [layers]; None with fewer than FEWEST_TO_FIT, or where an L0 is 0.

    Two relations over the same layers, with one seed, are resampled alike.
    """
    if len(norms) < FEWEST_TO_FIT or not (l0 > 0).all():
        return None
    x, y = np.log(norms), np.log(l0)
    rng = np.random.default_rng(seed)
    picks = layer_picks(x, rng, resamples)
    value = float(_slope(x, y))
    shuffled = np.stack([rng.permutation(y) for _ in range(resamples)])
    p = (1 + np.sum(np.abs(_slope(np.broadcast_to(x, shuffled.shape), shuffled)) >= abs(value))) / (1 + resamples)
    rho = spearmanr(x, y).statistic
    slope = Estimate(value, np.asarray(_slope(x[picks], y[picks])), len(x))
    return Relation(slope, float(y.mean() - value * x.mean()), float(p), float(rho))


def _slope(x: Float, y: Float) -> Float:
    """Least squares along the last axis."""
    dx = x - x.mean(axis=-1, keepdims=True)
    return np.asarray((dx * (y - y.mean(axis=-1, keepdims=True))).sum(axis=-1) / np.square(dx).sum(axis=-1))


def layer_picks(
    x: Float, rng: np.random.Generator, resamples: int = bootstrap.RESAMPLES, *, at_least: int = 2
) -> NDArray[np.int64]:
    """Layers drawn with repetition, int64 [resamples, layers], with at least so many different x, which a fit needs."""
    picks = rng.integers(len(x), size=(resamples, len(x)))
    while (few := 1 + (np.diff(np.sort(x[picks])) > 0).sum(axis=1) < at_least).any():
        picks[few] = rng.integers(len(x), size=(int(few.sum()), len(x)))
    return picks
