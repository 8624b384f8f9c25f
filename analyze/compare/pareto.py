"""Pareto curves: each family's measures against L0, and differences between families at the same L0.

Between two runs of a family a measure is interpolated linearly in log L0. Families are compared at three values of L0
in the range that both cover; a curve is never extrapolated.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from analyze.runs.configurations import Configuration, configurations, of_configurations
from analyze.runs.families import FamilyPair, families
from analyze.statistics.estimates import Estimate, Estimates, Key, combine, difference, mean_of
from analyze.statistics.jackknife import Float
from analyze.tables import Row, layer_list, markdown, short, trained_on, with_interval
from data.store.stats import Subset
from train.measures import MEASURES, Shown, title_of

MATCHED_SHARES = (0.25, 0.5, 0.75)  # of the shared range of log L0
HELD_OUT, PATCHED = "held_out", "patched"  # samples: stored rows, or patched positions of the language model


@dataclass(frozen=True)
class ParetoCurve:
    """A family at one hook, with noise on or off: the names of its configurations, in ascending order of their L0."""

    family: str
    hook: str
    noise: bool
    configurations: list[str]
    l0: list[Estimate]

    @property
    def range(self) -> tuple[float, float]:
        return self.l0[0].value, self.l0[-1].value

    def points(self, estimates: Estimates, measure: str) -> list[Estimate]:
        """Return the measure of each configuration."""
        return [estimates[Key(own, self.hook, self.noise, Subset.ALL, measure)] for own in self.configurations]

    def interpolate(self, l0: float, points: Sequence[Estimate]) -> Estimate:
        """Return the measure at an L0 within the range; each replicate is interpolated between its own points."""

        def at_l0(*arrays: Float) -> Float:
            l0_of_runs, values = (np.stack(half, axis=-1) for half in (arrays[: len(points)], arrays[len(points) :]))
            return _interpolate_in_log(l0, l0_of_runs, values)

        return combine(at_l0, [*self.l0, *points])


def _interpolate_in_log(at: float, x: Float, y: Float) -> Float:
    """Interpolate y at points x [..., points] linearly in log x; outside their range take the nearest point's y.

    Points with x = 0, which never fire in a resample, are left out. Without points the result is NaN.
    """
    order, log_at, last = np.argsort(x, axis=-1), np.log(at), x.shape[-1] - 1
    with np.errstate(divide="ignore"):
        log_x = np.log(np.take_along_axis(x, order, axis=-1))
    y = np.take_along_axis(y, order, axis=-1)
    first = np.count_nonzero(x == 0, axis=-1)[..., None]
    left = np.count_nonzero(log_x <= log_at, axis=-1)[..., None] - 1
    below = np.maximum(left, np.minimum(first, last))
    above = np.minimum(below + 1, last)
    (x0, x1), (y0, y1) = ([np.take_along_axis(z, i, axis=-1) for i in (below, above)] for z in (log_x, y))
    between = (left >= first) & (x0 < log_at) & (below < above)
    with np.errstate(divide="ignore", invalid="ignore"):
        interpolated = (y1 - y0) / (x1 - x0) * (log_at - x0) + y0
    return np.where(first > last, np.nan, np.where(between, interpolated, y0))[..., 0]


def pareto_curves(estimates: Estimates, configurations: Sequence[Configuration]) -> list[ParetoCurve]:
    """Return the curves of all families. Configurations that never fire (L0 = 0) are left out.

    estimates: of configurations (`of_configurations`).
    """
    curves = []
    hooks = list(dict.fromkeys(key.hook for key in estimates))
    for family, members in families(configurations).items():
        for hook in hooks:
            for noise in (False, True):
                keys = [Key(own.name, hook, noise, Subset.ALL, "l0") for own in members]
                l0 = {key.run: estimates[key] for key in keys if key in estimates and estimates[key].value > 0}
                if l0:
                    ordered = sorted(l0, key=lambda name: l0[name].value)
                    curves.append(ParetoCurve(family, hook, noise, ordered, [l0[name] for name in ordered]))
    return curves


def matched_l0_values(first: ParetoCurve, second: ParetoCurve) -> Iterator[float]:
    """Yield the values of L0 at which two curves are compared; none if their ranges do not overlap."""
    low, high = max(first.range[0], second.range[0]), min(first.range[1], second.range[1])
    if low < high:
        for share in MATCHED_SHARES:
            yield float(low ** (1 - share) * high**share)


def compare_at_matched_l0(
    estimates: Estimates, hooks: Sequence[str], pair: FamilyPair, measure: str,
    compare: Callable[[Estimate, Estimate], Estimate],
) -> dict[str, Estimate]:  # fmt: skip
    """Return `compare` of NSAE's measure and the baseline's, noise off, per hook: the mean over the matched L0.

    Hooks where the two families' ranges of L0 do not overlap are left out. estimates: of runs.
    """
    sides = [configurations(runs) for runs in (pair.baseline, pair.nsae)]
    estimates = of_configurations(estimates, [own for side in sides for own in side])
    compared = {}
    for hook in hooks:
        at_hook = {key: estimate for key, estimate in estimates.items() if key.hook == hook and not key.noise}
        baseline, nsae = (next(iter(pareto_curves(at_hook, side)), None) for side in sides)
        matched = [] if baseline is None or nsae is None else list(matched_l0_values(baseline, nsae))
        if baseline is not None and nsae is not None and matched:
            curves = [(curve, curve.points(at_hook, measure)) for curve in (nsae, baseline)]
            mean = mean_of([compare(*(curve.interpolate(l0, points) for curve, points in curves)) for l0 in matched])
            if mean is not None:
                compared[hook] = mean
    return compared


def note_without_overlap(hooks: Sequence[str], compared: Collection[str]) -> str:
    """Return a note on the hooks that could not be compared; empty if there is none."""
    missing = [hook for hook in hooks if hook not in compared]
    return f"no overlap in L0: {layer_list(missing)}" if missing else ""


def curve_lines(estimates: Estimates, configurations: Sequence[Configuration], sample: str) -> list[Row]:
    """Return one line per point of each curve and measure (the table `points`).

    sample: HELD_OUT or PATCHED, what the estimates, including L0, were measured on.
    """
    lines = []
    for curve in pareto_curves(estimates, configurations):
        for measure in _compared_measures(estimates):
            for name, l0, point in zip(curve.configurations, curve.l0, curve.points(estimates, measure), strict=True):
                low, high = point.interval
                lines.append({
                    "sample": sample, "family": curve.family, "hook": curve.hook, "noise": curve.noise, "run": name,
                    "seeds": point.n_seeds, "l0": l0.value, "measure": measure, "value": point.value, "low": low,
                    "high": high,
                })  # fmt: skip
    return lines


def difference_lines(estimates: Estimates, configurations: Sequence[Configuration], sample: str) -> list[Row]:
    """Return the differences between each two families at each hook, noise off (the table `matched`).

    There is one line per matched L0 and measure; the value is the second family's less the first's. If the families'
    ranges of L0 do not overlap, the line's `l0` and values are None. `unfinished` names the unfinished runs of both.

    sample: HELD_OUT or PATCHED, what the estimates, including L0, were measured on.
    """
    lines: list[Row] = []
    unfinished = {own.name: [run.name for run in own.replicas if not run.finished] for own in configurations}
    noise_off = [curve for curve in pareto_curves(estimates, configurations) if not curve.noise]
    for hook in dict.fromkeys(curve.hook for curve in noise_off):
        for first, second in combinations([curve for curve in noise_off if curve.hook == hook], 2):
            l0_values: list[float | None] = [*matched_l0_values(first, second)]
            for l0 in l0_values or [None]:
                for measure in _compared_measures(estimates):
                    line = _difference_line(estimates, first, second, measure, l0)
                    used = (*first.configurations, *second.configurations)
                    names = [run for name in used for run in unfinished[name]]
                    lines.append({"sample": sample, **line, "unfinished": names})
    return lines


def _compared_measures(estimates: Estimates) -> list[str]:
    measured = {key.measure for key in estimates}
    return [m.name for m in MEASURES if Shown.AT_EQUAL_L0 in m.shown and m.name in measured]


def _difference_line(
    estimates: Estimates, first: ParetoCurve, second: ParetoCurve, measure: str, l0: float | None
) -> Row:
    line: Row = {"hook": first.hook, "first": first.family, "second": second.family, "measure": measure, "l0": l0}
    if l0 is None:
        return line | dict.fromkeys(("at_first", "at_second", "value", "low", "high"))
    at_first, at_second = (curve.interpolate(l0, curve.points(estimates, measure)) for curve in (first, second))
    gap = difference(at_second, at_first)
    low, high = gap.interval
    return line | {
        "at_first": at_first.value, "at_second": at_second.value, "value": gap.value, "low": low, "high": high,
    }  # fmt: skip


def which_is_better_by_layer(lines: Sequence[Row]) -> list[Row]:
    """Return, per sample, pair of families and measure, the hooks where the second family is higher, lower or neither.

    lines: as from `difference_lines`. The second family is higher at a hook if the intervals at all matched L0 lie
    above 0.
    """
    names = ("sample", "first", "second", "measure")
    by_pair: dict[tuple[str, ...], dict[str, list[Row]]] = {}
    for line in lines:
        by_pair.setdefault(tuple(line[name] for name in names), {}).setdefault(line["hook"], []).append(line)
    results = []
    for key, by_hook in by_pair.items():
        hooks: dict[str, list[str]] = {side: [] for side in ("higher", "lower", "undecided", "no_overlap")}
        for hook, at_hook in by_hook.items():
            hooks[_side(at_hook)].append(hook)
        results.append({**dict(zip(names, key, strict=True)), **hooks})
    return results


def _side(lines: Sequence[Row]) -> str:
    if lines[0]["l0"] is None:
        return "no_overlap"
    if all(line["low"] > 0 for line in lines):
        return "higher"
    return "lower" if all(line["high"] < 0 for line in lines) else "undecided"


def curve_table(lines: Sequence[Row]) -> str:
    """Return `curve_lines` of one sample as Markdown: a row per run, hook and noise, a column per measure."""
    measures = list(dict.fromkeys(line["measure"] for line in lines))
    cells = {(li["hook"], li["family"], li["run"], li["noise"], li["measure"]): li for li in lines}
    line_of_row = {key[:4]: line for key, line in cells.items()}
    rows = [
        [hook, run, "on" if noise else "off", trained_on(line), short(line["l0"]),
         *(with_interval(cells[hook, family, run, noise, name]) if (hook, family, run, noise, name) in cells else ""
           for name in measures)]
        for (hook, family, run, noise), line in line_of_row.items()
    ]  # fmt: skip
    return markdown(["hook", "run", "noise", "trained on", "L0", *map(title_of, measures)], rows)


def difference_table(lines: Sequence[Row]) -> str:
    """Return `difference_lines` as Markdown: a row per pair of families, hook and L0, a column per measure."""
    measures = list(dict.fromkeys(line["measure"] for line in lines))
    cells = {(li["hook"], li["first"], li["second"], li["l0"], li["measure"]): li for li in lines}
    rows = []
    for (hook, first, second, l0), line in {key[:4]: line for key, line in cells.items()}.items():
        values = [with_interval(cells[hook, first, second, l0, measure]) for measure in measures] if l0 else []
        values = values or ["no overlap", *[""] * (len(measures) - 1)]
        rows.append([hook, f"{second} − {first}", ", ".join(line["unfinished"]) or "–", short(l0), *values])
    return markdown(["hook", "difference", "unfinished runs", "at L0", *map(title_of, measures)], rows)
