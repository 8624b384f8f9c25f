"""The change of training batches' measures in the last tenth of a training, which tells whether it has settled.

A change is the slope of a line through the logged points, times a tenth of the training, relative to the mean of the
points; that of the explained variance is relative to 1 − its mean. An SAE has settled if the 95 % intervals of the
changes of L0 and explained variance lie within ±LIMIT, and has not if one lies beyond. Otherwise the log does not tell:
the batches vary too much, or there are too few points.

The loss decides nothing: it also changes with a coefficient that is adjusted, and with a power that is annealed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from analyze.runs.trained_run import TrainedRun
from analyze.runs.training_curves import TrainingCurve
from analyze.statistics.trend import Trend, trend
from analyze.tables import layer_list
from train.measures import title_of

LIMIT = 0.05  # largest relative change per tenth of the training
DECISIVE = ("l0", "explained_variance")
SETTLED_MEASURES = ("loss", *DECISIVE)
SETTLED = {True: "yes", False: "no", None: "unknown"}


@dataclass(frozen=True)
class DriftRow:
    """A drift as a row: the relative change per tenth of the training, with its 95 % interval from `low` to `high`.

    The numbers are None if the change is unknown. points: how many logged points it is from.
    settled: None if the log does not tell, and for a measure that decides nothing.
    """

    run: str
    hook: str
    measure: str
    change: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    points: int
    settled: bool | None


@dataclass(frozen=True)
class Drift:
    """The relative change of one measure of one SAE in the last tenth of its training.

    trend: None if fewer than three points were logged, or the measure is 0.
    """

    run: str
    hook: str
    measure: str
    trend: Trend | None

    @property
    def settled(self) -> bool | None:
        """True if the change is within ±LIMIT; None if the interval contains a limit."""
        if self.trend is None:
            return None
        low, high = self.trend.interval
        if low >= -LIMIT and high <= LIMIT:
            return True
        return False if low > LIMIT or high < -LIMIT else None

    def row(self) -> DriftRow:
        """Return the drift as a row of the table `settledness`."""
        about, settled = (self.run, self.hook, self.measure), self.settled if self.measure in DECISIVE else None
        if (known := self.trend) is None:
            return DriftRow(*about, None, None, None, None, 0, settled)
        return DriftRow(*about, known.change, known.standard_error, *known.interval, known.points, settled)


DriftsBySae = dict[tuple[str, str], list[Drift]]  # by run and hook


def drifts(curves: Iterable[TrainingCurve], runs: Sequence[TrainedRun]) -> list[Drift]:
    """Return the drift of each run, hook and measure that was logged on training batches."""
    planned = {run.name: run.planned for run in runs}
    return [
        Drift(curve.run, curve.hook, curve.measure, relative_change(curve, planned[curve.run] / 10))
        for curve in curves
        if curve.split == "train" and curve.measure in SETTLED_MEASURES
    ]


def drifts_by_sae(measured: Iterable[Drift]) -> DriftsBySae:
    """Return the drifts of each SAE, by its run and hook."""
    by_sae: DriftsBySae = {}
    for drift in measured:
        by_sae.setdefault((drift.run, drift.hook), []).append(drift)
    return by_sae


def relative_change(curve: TrainingCurve, stretch: float) -> Trend | None:
    """Return the relative change of a curve over its last `stretch` rows; None if it cannot be computed."""
    last = [i for i, rows in enumerate(curve.rows) if rows > curve.rows[-1] - stretch]
    change = trend([curve.rows[i] for i in last], [curve.values[i] for i in last], stretch)
    if change is None:
        return None
    scale = abs(1 - change.mean if curve.measure == "explained_variance" else change.mean)
    return change.relative_to(scale) if scale > 0 else None


def has_settled(measured: Iterable[Drift], run: str, hook: str | None = None) -> bool | None:
    """Return whether a run has settled at a hook, or at all; False if one drift has not, None if the log does not tell.

    A run without drifts is unknown.
    """
    verdicts = [d.settled for d in _decisive(measured, run) if hook in (None, d.hook)]
    if False in verdicts:
        return False
    return True if verdicts and None not in verdicts else None


def states_of_saes(measured: Iterable[Drift], runs: Iterable[TrainedRun]) -> dict[tuple[str, str], bool | None]:
    """Return whether each SAE of the runs has settled, by its run and hook; see `has_settled`."""
    by_sae = drifts_by_sae(measured)
    return {
        (run.name, hook): has_settled(by_sae.get((run.name, hook), ()), run.name) for run in runs for hook in run.hooks
    }


def unsettled(measured: Sequence[Drift], runs: Iterable[TrainedRun], hook: str | None = None) -> str:
    """Name the runs that have not settled, at a hook or at all, in one text; empty if there are none.

    A run of which the log does not tell is not named.
    """
    reasons = {run.name: why_unsettled(measured, run.name, hook) for run in runs}
    return "; ".join(f"{name}: {why}" for name, why in reasons.items() if why)


def why_unsettled(measured: Sequence[Drift], run: str, hook: str | None = None) -> str:
    """Return which measures of a run still change, by how much and in which layers; empty if none does."""
    reasons = []
    for measure in DECISIVE:
        moving = [d for d in _decisive(measured, run) if d.measure == measure and d.settled is False]
        changes = {d.hook: d.trend.change for d in moving if d.trend is not None and hook in (None, d.hook)}
        if changes:
            low, high = min(changes.values()), max(changes.values())
            extent = f"{low:+.0%}" if f"{low:+.0%}" == f"{high:+.0%}" else f"{low:+.0%} to {high:+.0%}"
            reasons.append(f"{title_of(measure)} {extent} in {layer_list(list(changes))}")
    return ", ".join(reasons)


def _decisive(measured: Iterable[Drift], run: str) -> Iterator[Drift]:
    return (drift for drift in measured if drift.run == run and drift.measure in DECISIVE)
