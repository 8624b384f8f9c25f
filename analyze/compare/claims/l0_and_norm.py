"""Claim 2: how L0 varies over the layers, with the mean input norm and with depth.

Scaling the inputs x by k is for the baseline the same as α/k, so a part of its slope is scale alone. At equal α/‖x‖ the
rest is left. Runs trained for a target L0 are left out, because they have the same L0 in all layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from scipy.interpolate import PchipInterpolator

from analyze.compare.claims.claim import ALL_LAYERS, Cell, Cells, Claim, ClaimHeader
from analyze.compare.claims.evidence import OverLayers
from analyze.compare.claims.numbers import by_position
from analyze.compare.claims.rule import decide_above, decide_equivalent
from analyze.compare.equal_l0.matched import key_of
from analyze.measure.measurements import Measurements
from analyze.runs.configurations import Configuration, all_replicas, configurations
from analyze.runs.settled import unsettled
from analyze.runs.trained_run import TrainedRun
from analyze.statistics import slopes
from analyze.statistics.estimates import Estimates
from analyze.statistics.jackknife import Float
from analyze.statistics.slopes import LayerFit
from analyze.tables import short

MARGIN = 0.15  # of a slope
SLOPE = "slope of log L0 on log mean ‖x‖₂"
AT_EQUAL_SCALE = f"{SLOPE}, at equal α/‖x‖"


def claims(measurements: Measurements) -> Iterator[Claim]:
    """Yield claim 2 without position 0 and on it."""
    for positions, estimates in by_position(measurements.held_out):
        yield from _Relations(measurements, estimates, positions).claims()


class _Relations:
    """The claims on one subset of positions."""

    def __init__(self, measurements: Measurements, estimates: Estimates, positions: str) -> None:
        self._measurements, self._estimates, self._positions = measurements, estimates, positions

    def claims(self) -> Iterator[Claim]:
        """Yield claim 2 on these positions."""
        baselines, nsaes = self._families("baseline"), self._families("nsae")
        norm_scaled = self._families("norm-scaled baseline")
        for family, runs in baselines.items():
            header = self._header("the baseline's L0 grows with the mean input norm", family, runs)
            yield from decide_above(header, SLOPE, self._slopes(runs), MARGIN)
            header = self._header("the baseline's L0 grows with the mean input norm beyond its scale", family, runs)
            yield from decide_above(
                header, AT_EQUAL_SCALE, self._slope_at_equal_scale(runs), MARGIN, note=self._scale(runs)
            )
        for families, claim in (
            (nsaes, "NSAE's L0 has no relation to the mean input norm"),
            (norm_scaled, "the norm-scaled baseline shows no relation either"),
        ):
            for family, runs in families.items():
                yield from decide_equivalent(self._header(claim, family, runs), SLOPE, self._slopes(runs), MARGIN)
        for (baseline, baseline_runs), (nsae, nsae_runs) in product(baselines.items(), nsaes.items()):
            runs = [*baseline_runs, *nsae_runs]
            header = self._header("the baseline's slope is above NSAE's", f"{baseline} − {nsae}", runs)
            numbers = self._gaps(baseline_runs, nsae_runs)
            yield from decide_above(header, f"difference of the {SLOPE}", numbers, MARGIN)
        for family, runs in nsaes.items():
            header = self._header("NSAE's L0 rises over depth, then falls", family, runs)
            statistic = "height of the middle of a parabola through log L0, above its higher end"
            yield from decide_above(header, statistic, self._rises(runs), 0)

    def _families(self, kind: str) -> dict[str, list[TrainedRun]]:
        """Return the families of a kind, without runs that were trained for a target L0."""
        families = self._measurements.of_kind(kind)
        free = {
            name: [run for run in runs if not run.settings.run.to_json().get("target_l0")]
            for name, runs in families.items()
        }  # fmt: skip
        return {name: runs for name, runs in free.items() if runs}

    def _header(self, claim: str, compared: str, runs: Sequence[TrainedRun]) -> ClaimHeader:
        return ClaimHeader(2, claim, compared, runs, self._positions)

    def _cell(self, place: str, fits: Sequence[LayerFit], n_layers: int, compared: Sequence[Configuration]) -> Cell:
        n_seeds = min(len(configuration.replicas) for configuration in compared)
        moving = unsettled(self._measurements.drifts, all_replicas(compared))
        return Cell(ALL_LAYERS, place, OverLayers(fits, n_layers, n_seeds), moving)

    def _slopes(self, runs: Sequence[TrainedRun]) -> Cells:
        """Return the slope of each configuration."""
        cells = []
        for configuration in configurations(runs):
            log_l0 = mean_log_l0(self._estimates, configuration)
            fit = slopes.slope(self._log_norms(list(log_l0)), np.array(list(log_l0.values())))
            cells.append(self._cell(configuration.name, [fit], len(log_l0), [configuration]))
        return Cells([cell for cell in cells if np.isfinite(cell.evidence.value)])

    def _gaps(self, baselines: Sequence[TrainedRun], nsaes: Sequence[TrainedRun]) -> Cells:
        """Return the slope of the baseline's L0 over NSAE's, for each two configurations."""
        cells = []
        for baseline, nsae in product(configurations(baselines), configurations(nsaes)):
            of_baseline, of_nsae = (mean_log_l0(self._estimates, configuration) for configuration in (baseline, nsae))
            hooks = [hook for hook in of_baseline if hook in of_nsae]
            log_ratio = np.array([of_baseline[hook] - of_nsae[hook] for hook in hooks])
            fit = slopes.slope(self._log_norms(hooks), log_ratio)
            place = f"{baseline.name} against {nsae.name}"
            cells.append(self._cell(place, [fit], len(hooks), [baseline, nsae]))
        return Cells([cell for cell in cells if np.isfinite(cell.evidence.value)])

    def _slope_at_equal_scale(self, runs: Sequence[TrainedRun]) -> Cells:
        """Return the slope of a family's L0, interpolated to an α in proportion to each layer's norm."""
        curves = self._l0_over_alpha(runs)
        hooks = list(curves)
        if not hooks:
            return Cells([])
        log_norms = self._log_norms(hooks)
        lowest = max(curve.x[0] - norm for curve, norm in zip(curves.values(), log_norms, strict=True))
        highest = min(curve.x[-1] - norm for curve, norm in zip(curves.values(), log_norms, strict=True))
        if lowest > highest:
            return Cells([])
        middle = (lowest + highest) / 2
        log_l0 = [float(curve(middle + norm)) for curve, norm in zip(curves.values(), log_norms, strict=True)]
        fit = slopes.slope(log_norms, np.array(log_l0))
        cell = self._cell(f"α/‖x‖ {np.exp(middle):.3g}", [fit], len(hooks), configurations(runs))
        return Cells([cell])

    def _scale(self, runs: Sequence[TrainedRun]) -> str:
        """Return the part of the slope that is scale alone, −d log L0 / d log α, as a note."""
        curves = self._l0_over_alpha(runs)
        if not curves:
            return "needs two α or more in every layer, over a range as wide as the norms'"
        steepness = [
            -float((curve(curve.x[-1]) - curve(curve.x[0])) / (curve.x[-1] - curve.x[0])) for curve in curves.values()
        ]
        return (
            f"a slope of {short(min(steepness))} to {short(max(steepness))} is scale alone (−d log L0/d log α by layer)"
        )

    def _l0_over_alpha(self, runs: Sequence[TrainedRun]) -> dict[str, PchipInterpolator]:
        """Return log L0 over log α, by hook; empty if a hook has fewer than two α."""
        points: dict[str, dict[float, float]] = {}
        for configuration in configurations(runs):
            for hook, log_l0 in mean_log_l0(self._estimates, configuration).items():
                points.setdefault(hook, {})[float(np.log(configuration.l1))] = log_l0
        if any(len(by_alpha) < 2 for by_alpha in points.values()):
            return {}
        return {
            hook: PchipInterpolator(*zip(*sorted(by_alpha.items()), strict=True)) for hook, by_alpha in points.items()
        }

    def _rises(self, runs: Sequence[TrainedRun]) -> Cells:
        """Return how far the middle of a parabola through log L0 over depth lies above its higher end."""
        cells = []
        for configuration in configurations(runs):
            log_l0 = np.array(list(mean_log_l0(self._estimates, configuration).values()))
            depth = np.linspace(0, 1, len(log_l0)) if len(log_l0) else np.empty(0)
            design = np.stack([np.ones(len(depth)), depth, depth**2], axis=1)
            ends = (np.array([0, 0.5, 0.25]), np.array([0, -0.5, -0.75]))  # the middle less the first and the last
            fits = [slopes.fit(design, weights, log_l0) for weights in ends]
            cells.append(self._cell(configuration.name, fits, len(log_l0), [configuration]))
        return Cells([cell for cell in cells if np.isfinite(cell.evidence.value)])

    def _log_norms(self, hooks: Sequence[str]) -> Float:
        return np.log([self._measurements.mean_norm(hook, self._positions) for hook in hooks])


def mean_log_l0(estimates: Estimates, configuration: Configuration) -> dict[str, float]:
    """Return the mean log L0 of the replicas by hook; hooks at which one never fires are left out."""
    log_l0 = {}
    for hook in configuration.hooks:
        known = [
            l0.value for run in configuration.replicas if (l0 := estimates.get(key_of(run, hook, "l0"))) is not None
        ]
        if known and min(known) > 0:
            log_l0[hook] = float(np.mean(np.log(known)))
    return log_l0
