"""The lines of the summary's table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from analyze.compare.equal_l0.matched import Matched, key_of
from analyze.compare.equal_l0.mean import mean_of_matched
from analyze.compare.summary.at_l0 import ComparisonAtL0, has_value
from analyze.compare.summary.summary import MISSED, NO_MARK, SummaryCell, SummaryLine
from analyze.runs.configurations import Configuration, seeds_of
from analyze.statistics.estimates import Estimates
from train.measures import possible

UNKNOWN = SummaryCell(None, None, None)
ROUNDING = 1e-9  # half-widths of exact counts, interpolated or not, are at most this share of the mean


def lines_at(
    comparison: ComparisonAtL0, marks: Mapping[str, Mapping[str, str]], rows: int | None
) -> list[SummaryLine]:  # fmt: skip
    """Return a line per side that is compared at an L0, in the order of the sides.

    marks: by measure and side; a side without one is not ranked. rows: rows in which dead features were counted.
    """
    lines = []
    for name, side in comparison.measured["l0"].items():
        hooks = comparison.hooks_of(name)
        if not hooks:
            continue
        cells = {}
        for measure, by_side in marks.items():
            matched_side = comparison.measured[measure][name]
            ranked_hooks = comparison.sides_at(measure)[1] if name in comparison.ranked else hooks
            layers = [matched_side.by_hook[hook] for hook in ranked_hooks or hooks if has_value(matched_side, hook)]
            cells[measure] = cell(measure, layers, by_side.get(name, NO_MARK))
        at = [side.by_hook[hook] for hook in hooks]
        lines.append(
            SummaryLine(
                name, comparison.l0, _mean_l0(at), min(len(matched.estimates) for matched in at), len(hooks), cells,
                rows, comparison.notes.get(name, ""),
            )
        )  # fmt: skip
    return lines


def line_of_configuration(
    samples: Mapping[str, Estimates], family: str, configuration: Configuration, hooks: Sequence[str],
    rows: int | None, target: float | None = None,
) -> SummaryLine:  # fmt: skip
    """Return a line of runs that are not compared, at the L0 that they have.

    samples: by measure, its estimates. target: the L0 that the runs were trained for and missed; None without one.
    """
    by_measure = {
        name: _measured(estimates, configuration, hooks, name) for name, estimates in samples.items()
    }  # fmt: skip
    cells = {name: cell(name, layers, NO_MARK) for name, layers in by_measure.items() if name != "l0"}
    note = "not compared" if target is None else MISSED
    return SummaryLine(
        family, target, _mean_l0(by_measure["l0"]), len(configuration.replicas), len(by_measure["l0"]), cells, rows,
        note,
    )  # fmt: skip


def _measured(estimates: Estimates, configuration: Configuration, hooks: Sequence[str], measure: str) -> list[Matched]:
    """Return a measure of a configuration's runs at the hooks where all of them have a finite value."""
    layers = []
    for hook in hooks:
        known = {seeds_of(run): estimates.get(key_of(run, hook, measure)) for run in configuration.replicas}
        finite = {
            seeds: estimate
            for seeds, estimate in known.items()
            if estimate is not None and math.isfinite(estimate.value)
        }
        if len(finite) == len(known):
            layers.append(Matched(finite, list(configuration.replicas)))
    return layers


def cell(measure: str, layers: Sequence[Matched], mark: str) -> SummaryCell:
    """Return a measure's mean over layers, without an interval that is unknown or that of exact counts of one seed."""
    if not layers:
        return UNKNOWN
    mean = mean_of_matched(layers)
    exact = mean.variances.half_width() <= ROUNDING * abs(mean.value)
    if exact or not math.isfinite(mean.half_width):
        return SummaryCell(mean.value, None, None, mark)
    bounds = possible(measure, mean.value - mean.half_width, mean.value + mean.half_width)
    return SummaryCell(mean.value, *bounds, mark)


def _mean_l0(layers: Sequence[Matched]) -> float:
    values = [np.mean([estimate.value for estimate in matched.estimates.values()]) for matched in layers]
    return float(np.mean(values)) if values else math.nan
