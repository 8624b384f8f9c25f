"""The numbers of claims about two families, taken from their runs: per layer, place and replica."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from analyze.compare.claims.claim import ALL_LAYERS, Cell, Cells
from analyze.compare.claims.evidence import AsExcess, Evidence, OverDocuments
from analyze.compare.equal_l0.difference import difference
from analyze.compare.equal_l0.matched import Matched, NotComparedError, Seeds, match
from analyze.compare.equal_l0.shared_l0 import shared_l0_values
from analyze.compare.equal_l0.sides import Side
from analyze.measure.measurements import Measurements
from analyze.runs.configurations import configurations, seeds_of
from analyze.runs.families import FamilyPair
from analyze.runs.settled import unsettled
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import Estimate, Estimates, combine, mean_of
from analyze.tables import short
from data.store.stats import Subset

FIRST = "0"  # the subset of position 0 alone


def by_position(estimates: Estimates) -> Iterator[tuple[str, Estimates]]:
    """Yield the estimates without position 0, then those of position 0, each as those of all positions.

    Position 0 often has a norm many times larger than the others, so it decides separately. Estimates that have no
    such subsets are yielded as they are.
    """
    of_subset: dict[str, Estimates] = {Subset.WITHOUT_FIRST.value: {}, FIRST: {}}
    for key, estimate in estimates.items():
        if key.subset in of_subset:
            of_subset[key.subset][key._replace(subset=Subset.ALL)] = estimate
    if of_subset[Subset.WITHOUT_FIRST.value]:
        yield from ((subset, chosen) for subset, chosen in of_subset.items() if chosen)
    else:
        yield Subset.ALL, estimates


def sides(pair: FamilyPair) -> tuple[Side, Side]:
    """Return the baseline's and NSAE's configurations."""
    return Side("the baseline", configurations(pair.baseline)), Side("NSAE", configurations(pair.nsae))


def at_equal_l0(
    measurements: Measurements, estimates: Estimates, pair: FamilyPair, measure: str, *, as_ratio: bool = False
) -> Cells:
    """Return NSAE's measure less the baseline's, per hook and shared L0; or its ratio to the baseline's, less 1."""
    baseline, nsae = sides(pair)
    cells, missing = list[Cell](), dict[str, str]()
    for hook in measurements.hooks:
        reasons = dict[str, None]()
        for l0 in shared_l0_values(estimates, baseline, nsae, hook):
            try:
                matched = [match(estimates, estimates, family, hook, measure, l0) for family in (baseline, nsae)]
            except NotComparedError as reason:
                reasons[str(reason)] = None
                continue
            numbers = between(*(_logarithms(m) for m in matched), as_ratio=True) if as_ratio else between(*matched)
            runs = [run for m in matched for run in m.runs]
            moving = unsettled(measurements.drifts, runs, hook)
            cells.append(Cell(hook, f"L0 {short(l0)}", numbers, moving))
        if not any(cell.hook == hook for cell in cells):
            missing[hook] = ", ".join(reasons) or "no overlap in L0"
    return Cells(cells, measurements.hooks, missing)


def between(baseline: Matched, nsae: Matched, *, as_ratio: bool = False) -> Evidence:
    """Return NSAE's number less the baseline's; as_ratio: the numbers are logarithms of what is compared."""
    number = OverDocuments(difference(baseline, nsae))
    return AsExcess(number) if as_ratio else number


def _logarithms(matched: Matched) -> Matched:
    logs = {key: combine(np.log, [estimate]) for key, estimate in matched.estimates.items()}
    value = float(np.mean([estimate.value for estimate in matched.estimates.values()]))
    errors = {name: getattr(matched, name) / value for name in ("interpolation_error", "leave_one_out_error")}
    return replace(matched, estimates=logs, **errors)


def mean_over_configurations(
    family: Side, hook: str, number_of: Callable[[TrainedRun, str], Estimate | None]
) -> Matched | None:
    """Return the mean of a number over a family's sparsity settings at a hook, per replica; None without numbers."""
    numbers: dict[Seeds, list[Estimate]] = {}
    runs = []
    for run in family.runs:
        number = number_of(run, hook) if hook in run.hooks else None
        if number is not None:
            numbers.setdefault(seeds_of(run), []).append(number)
            runs.append(run)
    means = {seeds: mean for seeds, estimates in numbers.items() if (mean := mean_of(estimates)) is not None}
    return Matched(means, runs) if means else None


def differences_of_means(
    measurements: Measurements, pair: FamilyPair, number_of: Callable[[TrainedRun, str], Estimate | None], *,
    as_ratio: bool = False,
) -> Cells:  # fmt: skip
    """Return, per hook, NSAE's mean of a number over its runs less the baseline's; as_ratio: as in `between`."""
    cells = []
    for hook in measurements.hooks:
        baseline, nsae = (mean_over_configurations(side, hook, number_of) for side in sides(pair))
        if baseline is not None and nsae is not None:
            moving = unsettled(measurements.drifts, [*baseline.runs, *nsae.runs], hook)
            cells.append(Cell(hook, "", between(baseline, nsae, as_ratio=as_ratio), moving))
    return Cells(cells, measurements.hooks)


def exact_numbers(
    measurements: Measurements, place: str, by_hook: Mapping[str, Mapping[Seeds, float]], runs: Sequence[TrainedRun]
) -> Cells:
    """Return exact numbers, such as shares of features, with intervals over seeds, in the layers that have one.

    With one seed a number has no interval: it is exactly that of the trained SAE.

    by_hook: the numbers of each replica, by hook.
    """
    cells = []
    for hook in measurements.hooks:
        by_seeds = by_hook.get(hook)
        if by_seeds:
            number = OverDocuments(difference(_exact(dict.fromkeys(by_seeds, 0.0)), _exact(by_seeds)))
            cells.append(Cell(hook, place, number, unsettled(measurements.drifts, runs, hook)))
    return Cells(cells, [cell.hook for cell in cells] or (ALL_LAYERS,))


def _exact(values: Mapping[Seeds, float]) -> Matched:
    return Matched({seeds: Estimate(value) for seeds, value in values.items()}, [])


def joined(numbers: Sequence[Cells]) -> Cells:
    """Return the cells of several places together."""
    cells = [cell for of_place in numbers for cell in of_place.cells]
    return Cells(cells, list(dict.fromkeys(cell.hook for cell in cells)) or (ALL_LAYERS,))
