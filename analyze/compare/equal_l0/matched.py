"""The measures of a side at a given L0: of runs that have it, or interpolated between runs that do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analyze.compare.equal_l0.sides import Side
from analyze.runs.configurations import Configuration, seeds_of
from analyze.runs.trained_run import TrainedRun
from analyze.statistics import curves
from analyze.statistics.curves import Scale
from analyze.statistics.estimates import Estimate, Estimates, Key
from analyze.statistics.jackknife import Float
from data.store.stats import Subset
from train.measures import title_of

SCALES = {
    "explained_variance": Scale.LOG_OF_REST, "score": Scale.LOG_OF_REST,
    "l0": Scale.LOG, "l2": Scale.LOG, "kl": Scale.LOG, "nats_lost": Scale.LOG,
}  # fmt: skip


Seeds = tuple[int, int]  # of the order of the rows, and of the initialisation


class NotComparedError(Exception):
    """A side has no value at an L0. The message is the reason."""


@dataclass(frozen=True)
class Matched:
    """A measure of a side's replicas at an L0.

    estimates: by the replica's seeds, all of the same groups.
    runs: the runs that they come from.
    interpolation_error: what the interpolation may be off by; 0 if the runs have this L0.
    leave_one_out_error: see `curves.leave_one_out_error`; 0 if the runs have this L0.
    interpolated: whether the runs do not have this L0.
    """

    estimates: Mapping[Seeds, Estimate]
    runs: list[TrainedRun]
    interpolation_error: float = 0.0
    leave_one_out_error: float = 0.0
    interpolated: bool = False


@dataclass(frozen=True)
class MatchedSide:
    """A side's measure at an L0, by hook. not_matched: by hook, why there is no value."""

    name: str
    measure: str
    l0: float
    by_hook: Mapping[str, Matched]
    not_matched: Mapping[str, str]


def key_of(run: TrainedRun, hook: str, measure: str) -> Key:
    """Return the key of a run's measure with noise off, over all positions."""
    return Key(run.name, hook, False, Subset.ALL, measure)


def match_hooks(
    estimates: Estimates, l0_estimates: Estimates, side: Side, hooks: Sequence[str], measure: str, l0: float
) -> MatchedSide:
    """Return a measure of a side at an L0, at each hook where it has a value. The arguments are those of `match`."""
    by_hook, not_matched = dict[str, Matched](), dict[str, str]()
    for hook in hooks:
        try:
            by_hook[hook] = match(estimates, l0_estimates, side, hook, measure, l0)
        except NotComparedError as reason:
            not_matched[hook] = str(reason)
    return MatchedSide(side.name, measure, l0, by_hook, not_matched)


def match(estimates: Estimates, l0_estimates: Estimates, side: Side, hook: str, measure: str, l0: float) -> Matched:
    """Return a measure of a side at an L0, per replica.

    estimates: of the measure, and of L0 on the same rows. l0_estimates: those that decide which runs have the L0.

    Runs within 2 % of the L0 count as having it. Otherwise a curve through the runs is interpolated. Where a curve is
    refused, a run within 10 % is moved along the line to another run.

    Raises NotComparedError if none of these is possible.
    """
    at_hook = [configuration for configuration in side.configurations if hook in configuration.hooks]
    by_l0: dict[float, Configuration] = {}
    for configuration in at_hook:
        known = [l0_estimates[key_of(run, hook, "l0")].value for run in configuration.replicas]
        if min(known) > 0:
            by_l0[float(np.exp(np.mean(np.log(known))))] = configuration
    if not by_l0:
        raise NotComparedError(f"{side.name} has no SAE {'that fires ' * bool(at_hook)}at this hook")
    nearest = min(by_l0, key=lambda value: abs(np.log(value / l0)))
    if curves.same_l0(nearest, l0):
        runs = by_l0[nearest].replicas
        return Matched({seeds_of(run): estimates[key_of(run, hook, measure)] for run in runs}, list(runs))
    try:
        return _between(estimates, by_l0, nearest, hook, measure, l0)
    except NotComparedError as reason:
        message = f"no run of {side.name} has this L0 (the nearest has {nearest:.3g}), and {reason}"
        raise NotComparedError(message) from None


def _between(
    estimates: Estimates, by_l0: Mapping[float, Configuration], nearest: float, hook: str, measure: str, l0: float
) -> Matched:
    """Interpolate a curve through all configurations or, where it is refused, move the nearest one if it is near."""
    try:
        return _interpolate(estimates, [by_l0[value] for value in sorted(by_l0)], hook, measure, l0)
    except NotComparedError:
        others = [value for value in by_l0 if value != nearest]
        if not others or not curves.near_l0(nearest, l0):
            raise
        other = min(others, key=lambda value: abs(np.log(value / l0)))
        return _move(estimates, by_l0[nearest], by_l0[other], hook, measure, l0)


def _interpolate(estimates: Estimates, points: list[Configuration], hook: str, measure: str, l0: float) -> Matched:
    """Interpolate each replica between its own runs."""
    values, errors, omitted, used = {}, [], [], list[TrainedRun]()
    for seeds, (runs, curve) in _replicas(estimates, points, hook, measure).items():
        reason = curves.why_refused(curve.l0, l0)
        if reason is not None:
            raise NotComparedError(reason)
        values[seeds] = curve.at(l0)
        errors.append(curves.interpolation_error(curve.l0, curve.y, l0, curve.scale))
        omitted.append(curves.leave_one_out_error(curve.l0, curve.y, curve.scale, l0))
        used += runs
    return Matched(values, used, float(np.mean(errors)), float(np.mean(omitted)), interpolated=True)


def _move(
    estimates: Estimates, near: Configuration, other: Configuration, hook: str, measure: str, l0: float
) -> Matched:
    """Move each replica of a configuration to an L0, along the line to the replica of another configuration.

    The interpolation's error is the whole distance moved, which allows for a slope up to twice that of the line.
    """
    values, moved, used = {}, [], list[TrainedRun]()
    for seeds, (runs, line) in _replicas(estimates, [near, other], hook, measure).items():
        values[seeds] = line.at(l0)
        moved.append(abs(values[seeds].value - estimates[key_of(runs[0], hook, measure)].value))
        used += runs
    return Matched(values, used, float(np.mean(moved)), interpolated=True)


def _replicas(
    estimates: Estimates, points: list[Configuration], hook: str, measure: str
) -> dict[Seeds, tuple[list[TrainedRun], _Curve]]:
    """Return the runs, in the order of `points`, and the curve of each replica that all configurations have."""
    by_seeds = [{seeds_of(run): run for run in configuration.replicas} for configuration in points]
    common = [seeds for seeds in by_seeds[0] if all(seeds in known for known in by_seeds)]
    if not common:
        raise NotComparedError("its runs of different L0 have no seed in common")
    replicas = {}
    for seeds in common:
        runs = [known[seeds] for known in by_seeds]
        l0_of_runs, measured = ([estimates[key_of(run, hook, name)] for run in runs] for name in ("l0", measure))
        replicas[seeds] = runs, _Curve(l0_of_runs, measured, measure)
    return replicas


class _Curve:
    """A replica's runs in ascending order of their L0."""

    def __init__(self, l0: list[Estimate], points: list[Estimate], measure: str) -> None:
        order = np.argsort([estimate.value for estimate in l0])
        self._l0, self._points, self._measure = [l0[i] for i in order], [points[i] for i in order], measure

    @property
    def scale(self) -> Scale:
        return SCALES.get(self._measure, Scale.LINEAR)

    @property
    def l0(self) -> Float:
        return np.array([estimate.value for estimate in self._l0])

    @property
    def y(self) -> Float:
        return np.array([estimate.value for estimate in self._points])

    def at(self, l0: float) -> Estimate:
        """Return the measure at an L0, each replicate interpolated between its own points.

        Raises NotComparedError if the measure has no logarithm that the scale needs.
        """
        left = curves.bracket(self.l0, l0)
        replicates = curves.interpolate(_replicates(self._l0), _replicates(self._points), l0, self.scale, left)
        value = float(curves.interpolate(self.l0, self.y, l0, self.scale, left))
        if not np.isfinite(value):
            raise NotComparedError(f"{title_of(self._measure)} of one has no logarithm to interpolate")
        return Estimate(value, replicates, self._points[0].shares)


def _replicates(points: list[Estimate]) -> Float:
    return np.stack([point.replicates for point in points], axis=-1)
