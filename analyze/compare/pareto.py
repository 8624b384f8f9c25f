"""Runs that differ in α alone are one family, a curve: measures against L0. Families compared at the same L0.

Between two runs of a family a measure is taken to be linear in log L0. Families are compared only where their ranges of
L0 overlap, at three places; never by extrapolation.

Pure arithmetic. Not here: measuring (evaluate.py, patching.py), drawing (figures.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from analyze.runs.families import FamilyPair, families
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.bootstrap import Float
from analyze.statistics.estimates import Estimate, Estimates, Key, difference, fewest_groups, mean_of
from analyze.tables import Row, layer_list, markdown, short, trained_on, with_interval
from data.store.stats import Subset
from train.measures import MEASURES, Shown, title_of

MATCHED_SHARES = (0.25, 0.5, 0.75)  # in the overlap of two families' log L0
HELD_OUT, PATCHED = "held_out", "patched"  # what was measured: stored rows, or positions that were patched


@dataclass(frozen=True)
class ParetoCurve:
    """A family's runs at one hook in the order of their L0, with noise or without."""

    family: str
    hook: str
    noise: bool
    runs: list[str]
    l0: list[Estimate]

    @property
    def range(self) -> tuple[float, float]:
        return self.l0[0].value, self.l0[-1].value

    def points(self, estimates: Estimates, measure: str) -> list[Estimate]:
        """The measure at each run."""
        return [estimates[Key(run, self.hook, self.noise, Subset.ALL, measure)] for run in self.runs]

    def interpolate(self, l0: float, values: Sequence[Estimate]) -> Estimate:
        """The measure at an L0 within the range, interpolated; in each replicate between that replicate's points."""
        x, y = (np.stack([estimate.replicates for estimate in several], axis=1) for several in (self.l0, values))
        replicates = np.array([_interpolate_in_log(l0, *pair) for pair in zip(x, y, strict=True)])
        x0, y0 = (np.array([estimate.value for estimate in several]) for several in (self.l0, values))
        return Estimate(_interpolate_in_log(l0, x0, y0), replicates, fewest_groups([*self.l0, *values]))


def _interpolate_in_log(l0: float, x: Float, y: Float) -> float:
    """Of y at points x, linear in log x. A point that never fires in a resample (x = 0) has no place on the curve."""
    order = np.argsort(x)[np.count_nonzero(x == 0) :]
    if not len(order):
        return float("nan")
    return float(np.interp(np.log(l0), np.log(x[order]), y[order]))


def pareto_curves(estimates: Estimates, runs: Sequence[TrainedRun]) -> list[ParetoCurve]:
    """All families' curves; runs that never fire (L0 = 0) are left out."""
    found = []
    hooks = list(dict.fromkeys(key.hook for key in estimates))
    for family, members in families(runs).items():
        for hook in hooks:
            for noise in (False, True):
                keys = [Key(run.name, hook, noise, Subset.ALL, "l0") for run in members]
                l0 = {key.run: estimates[key] for key in keys if key in estimates and estimates[key].value > 0}
                if l0:
                    ordered = sorted(l0, key=lambda run: l0[run].value)
                    found.append(ParetoCurve(family, hook, noise, ordered, [l0[run] for run in ordered]))
    return found


def compare_at_matched_l0(
    estimates: Estimates, hooks: Sequence[str], pair: FamilyPair, measure: str,
    compare: Callable[[Estimate, Estimate], Estimate],
) -> dict[str, Estimate]:  # fmt: skip
    """Return `compare` of NSAE's measure and the baseline's, noise off, per hook.

    It is the mean over the matched L0. Hooks where the two families' ranges of L0 do not overlap are left out.
    """
    compared = {}
    for hook in hooks:
        at_hook = {key: estimate for key, estimate in estimates.items() if key.hook == hook and not key.noise}
        baseline, nsae = (next(iter(pareto_curves(at_hook, runs)), None) for runs in (pair.baseline, pair.nsae))
        if baseline is not None and nsae is not None:
            mean = mean_of(
                [
                    compare(*(curve.interpolate(l0, curve.points(at_hook, measure)) for curve in (nsae, baseline)))
                    for l0 in matched_l0_values(baseline, nsae)
                ]
            )
            if mean is not None:
                compared[hook] = mean
    return compared


def note_without_overlap(hooks: Sequence[str], compared: Collection[str]) -> str:
    """Return a note on the hooks that could not be compared; empty if there is none."""
    missing = [hook for hook in hooks if hook not in compared]
    return f"no overlap in L0: {layer_list(missing)}" if missing else ""


def curve_lines(estimates: Estimates, runs: Sequence[TrainedRun], sample: str) -> list[Row]:
    """One line for each point of each curve; `sample` (HELD_OUT, PATCHED) says on what all its numbers, L0 too, were
    measured."""
    lines = []
    for curve in pareto_curves(estimates, runs):
        for measure in _measured(estimates):
            for run, l0, point in zip(curve.runs, curve.l0, curve.points(estimates, measure), strict=True):
                low, high = point.interval
                lines.append({
                    "sample": sample, "family": curve.family, "hook": curve.hook, "noise": curve.noise, "run": run,
                    "l0": l0.value, "measure": measure, "value": point.value, "low": low, "high": high,
                })  # fmt: skip
    return lines


def matched(estimates: Estimates, runs: Sequence[TrainedRun], sample: str) -> list[Row]:
    """Each two families at each hook, without noise, at three L0 in their overlap: the difference, second less first.

    A line without figures (`l0` None) where they do not overlap. `unfinished` names the runs of the two curves that
    have not been trained to their end.
    """
    lines: list[Row] = []
    unfinished = {run.name for run in runs if not run.finished}
    off = [curve for curve in pareto_curves(estimates, runs) if not curve.noise]
    for hook in dict.fromkeys(curve.hook for curve in off):
        for one, other in combinations([curve for curve in off if curve.hook == hook], 2):
            overlap: list[float | None] = [*matched_l0_values(one, other)]
            for l0 in overlap or [None]:
                for measure in _measured(estimates):
                    line = _compared(estimates, one, other, measure, l0)
                    names = [run for run in (*one.runs, *other.runs) if run in unfinished]
                    lines.append({"sample": sample, **line, "unfinished": names})
    return lines


def _measured(estimates: Estimates) -> list[str]:
    measured = {key.measure for key in estimates}
    return [m.name for m in MEASURES if Shown.AT_EQUAL_L0 in m.shown and m.name in measured]


def matched_l0_values(one: ParetoCurve, other: ParetoCurve) -> Iterator[float]:
    """L0 at which two curves are compared; none where they do not overlap."""
    low, high = max(one.range[0], other.range[0]), min(one.range[1], other.range[1])
    if low < high:
        for share in MATCHED_SHARES:
            yield float(low ** (1 - share) * high**share)


def _compared(estimates: Estimates, one: ParetoCurve, other: ParetoCurve, measure: str, l0: float | None) -> Row:
    line: Row = {"hook": one.hook, "first": one.family, "second": other.family, "measure": measure, "l0": l0}
    if l0 is None:
        return line | dict.fromkeys(("at_first", "at_second", "value", "low", "high"))
    first, second = (curve.interpolate(l0, curve.points(estimates, measure)) for curve in (one, other))
    found = difference(second, first)
    low, high = found.interval
    return line | {"at_first": first.value, "at_second": second.value, "value": found.value, "low": low, "high": high}


def which_is_better_by_layer(lines: Sequence[Row]) -> list[Row]:
    """Of `matched`'s lines, a line for each sample, pair and measure: in which layers the second is higher, lower, or
    neither.

    A layer counts where the intervals at all its places lie on one side of 0.
    """
    sides: dict[tuple[str, ...], dict[str, list[str]]] = {}
    of: dict[tuple[str, ...], dict[str, list[Row]]] = {}
    names = ("sample", "first", "second", "measure")
    for line in lines:
        of.setdefault(tuple(line[name] for name in names), {}).setdefault(line["hook"], []).append(line)
    for key, by_hook in of.items():
        found = sides.setdefault(key, {side: [] for side in ("higher", "lower", "undecided", "no_overlap")})
        for hook, places in by_hook.items():
            if places[0]["l0"] is None:
                side = "no_overlap"
            elif all(place["low"] > 0 for place in places):
                side = "higher"
            else:
                side = "lower" if all(place["high"] < 0 for place in places) else "undecided"
            found[side].append(hook)
    return [{**dict(zip(names, key, strict=True)), **found} for key, found in sides.items()]


def points_table(lines: Sequence[Row]) -> str:
    """Markdown of `curve_lines` of one sample: a row for each run and hook, noise off or on, a column a measure."""
    measured = list(dict.fromkeys(line["measure"] for line in lines))
    of = {(li["hook"], li["family"], li["run"], li["noise"], li["measure"]): li for li in lines}
    some = {key[:4]: line for key, line in of.items()}
    rows = [
        [key[0], key[2], "on" if key[3] else "off", trained_on(line), short(line["l0"]),
         *(with_interval(of[*key, name]) if (*key, name) in of else "" for name in measured)]
        for key, line in some.items()
    ]  # fmt: skip
    return markdown(["hook", "run", "noise", "trained on", "L0", *map(title_of, measured)], rows)


def as_table(lines: Sequence[Row]) -> str:
    """Markdown of `matched`'s lines: a row for each pair, hook and L0, a column a measure."""
    measured = list(dict.fromkeys(line["measure"] for line in lines))
    of = {(li["hook"], li["first"], li["second"], li["l0"], li["measure"]): li for li in lines}
    rows = []
    for (hook, first, second, l0), line in {key[:4]: line for key, line in of.items()}.items():
        cells = [with_interval(of[hook, first, second, l0, measure]) for measure in measured] if l0 else []
        cells = cells or ["no overlap", *[""] * (len(measured) - 1)]
        rows.append([hook, f"{second} − {first}", ", ".join(line["unfinished"]) or "–", short(l0), *cells])
    return markdown(["hook", "difference", "unfinished runs", "at L0", *map(title_of, measured)], rows)
