"""The rule that decides every claim: compare the 95 % interval of its statistic with its margin.

    holds             the whole interval lies beyond the margin (or, for a claim of equivalence, within ±margin)
    does not hold     the whole interval lies on the other side
    not enough data   the interval includes the margin, the statistic could not be computed, or its interval has fewer
                      than 7 degrees of freedom: too few documents or layers, or too uneven ones

A claim of equivalence over several layers or runs holds if it holds in each, and does not hold if it does not hold in
one, because opposite differences would cancel in the mean.

A claim that uses an unfinished run has no verdict; its note names the run.

Intervals are over documents, or over layers where the statistic says so. They do not include the variation between
seeds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analyze.runs.progress import unfinished
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import Estimate
from analyze.tables import Row

UNFINISHED: Literal["no verdict: unfinished runs"] = "no verdict: unfinished runs"
Verdict = Literal["holds", "does not hold", "not enough data", "no verdict: unfinished runs"]
COUNTED_AS: dict[Verdict, str] = {
    "holds": "holds in", "does not hold": "does not in", "not enough data": "undecided in", UNFINISHED: "no verdict in",
}  # fmt: skip

ALL_LAYERS = "all"


@dataclass(frozen=True)
class ClaimHeader:
    """What a claim states and compares, before it is decided.

    number: the claim's number in the post.
    claim: the statement, in a sentence.
    compared: names of the families that are compared.
    runs: all runs that the statistic uses.
    hook: the layer, or ALL_LAYERS.
    """

    number: int
    claim: str
    compared: str
    runs: Sequence[TrainedRun]
    hook: str = ALL_LAYERS


@dataclass(frozen=True)
class Claim:
    """A claim, what it compares, the statistic that decides it, and the verdict."""

    number: int
    claim: str
    compared: str
    hook: str
    statistic: str
    criterion: str  # which values of the statistic fulfil the claim
    value: float | None
    low: float | None
    high: float | None
    verdict: Verdict
    note: str = ""

    def line(self) -> Row:
        """Return the claim as a line of the table `claims`."""
        return {
            "number": self.number, "claim": self.claim, "of": self.compared, "hook": self.hook,
            "statistic": self.statistic, "margin": self.criterion, "value": self.value, "low": self.low,
            "high": self.high, "verdict": self.verdict, "note": self.note,
        }  # fmt: skip


def decide_above(
    header: ClaimHeader, statistic: str, estimate: Estimate | None, margin: float, *, note: str = ""
) -> Claim:
    """Decide a claim that the statistic is greater than the margin; `estimate` None: it could not be computed."""

    def verdict_of(low: float, high: float) -> Verdict:
        return above(low, high, margin)

    parts = [] if estimate is None else [estimate]
    return _decide(header, statistic, estimate, f"more than {margin:g}", verdict_of, parts, note)


def decide_equivalent(
    header: ClaimHeader, statistic: str, estimate: Estimate | None, margin: float, *,
    each: Sequence[Estimate] = (), note: str = "",
) -> Claim:  # fmt: skip
    """Decide a claim that the statistic is 0, up to ±margin; `estimate` None: it could not be computed.

    If `estimate` is a mean, `each` are the estimates that it is the mean of: they decide in its place.
    """

    def verdict_of(low: float, high: float) -> Verdict:
        return equivalent(low, high, margin)

    parts = each or ([] if estimate is None else [estimate])
    criterion = f"{'each ' * bool(each)}within ±{margin:g}"
    return _decide(header, statistic, estimate, criterion, verdict_of, parts, note)


def above(low: float, high: float, margin: float) -> Verdict:
    """Return the verdict of a claim that something is greater than the margin, from its interval."""
    if low > margin:
        return "holds"
    return "does not hold" if high <= margin else "not enough data"


def equivalent(low: float, high: float, margin: float) -> Verdict:
    """Return the verdict of an equivalence claim, from its interval: the whole interval must lie within ±margin.

    Non-significance is not enough.
    """
    if -margin < low and high < margin:
        return "holds"
    return "does not hold" if low > margin or high < -margin else "not enough data"


def _decide(
    header: ClaimHeader, statistic: str, estimate: Estimate | None, criterion: str,
    verdict_of: Callable[[float, float], Verdict], parts: Sequence[Estimate], note: str,
) -> Claim:  # fmt: skip
    """Decide a claim: it holds if each of its parts fulfils the criterion."""
    value = None if estimate is None else estimate.value
    low, high = None, None
    if estimate is not None and np.isfinite(estimate.interval).all():
        low, high = estimate.interval
    verdict: Verdict = "not enough data"
    missing = unfinished(header.runs)
    if missing:
        verdict, note = UNFINISHED, join_notes(f"unfinished: {missing}", note)
    elif estimate is not None and low is not None:
        if not estimate.decisive:
            note = join_notes(
                note, f"too few documents or layers for a verdict: effectively {estimate.effective_groups:.1f}"
            )
        else:
            verdicts = [verdict_of(*part.interval) for part in parts]
            verdict = next((v for v in ("does not hold", "not enough data") if v in verdicts), "holds")
    return Claim(
        header.number, header.claim, header.compared, header.hook, statistic, criterion, value, low, high, verdict, note
    )


def join_notes(*notes: str) -> str:
    """Join the notes that are not empty."""
    return "; ".join(filter(None, notes))


def count_by_layer(claims: Sequence[Claim]) -> str:
    """Return in how many layers a claim holds, does not hold and is undecided, which its mean over layers hides."""
    counts = Counter(claim.verdict for claim in claims)
    parts = [f"{words} {counts[verdict]}" for verdict, words in COUNTED_AS.items() if counts[verdict]]
    return f"by layer: {', '.join(parts)}" if parts else ""
