"""Claim 2: how L0 varies over the layers, with the mean input norm and with depth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from analyze.compare.claims.rule import Claim, ClaimHeader, decide_above, decide_equivalent
from analyze.measure.measurements import Measurements
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import Estimate, difference, mean_of, over_points
from analyze.statistics.jackknife import Float
from analyze.statistics.regression import LogLogFit, fit_log_log
from analyze.tables import short

MARGIN = 0.15  # of a slope
SLOPE = "slope of log L0 on log mean ‖x‖₂"


def claims(measurements: Measurements) -> Iterator[Claim]:
    baselines, nsaes, controls = (measurements.of_kind(kind) for kind in ("baseline", "nsae", "control"))
    for family, runs in baselines.items():
        fits = _fits(measurements, runs)
        header = ClaimHeader(2, "the baseline's L0 grows with the mean input norm", family, runs)
        yield decide_above(header, SLOPE, _mean_slope(fits), MARGIN, note=_ranges(fits))
    for families, claim in (
        (nsaes, "NSAE's L0 has no relation to the mean input norm"),
        (controls, "the control, a baseline whose α is scaled by the norm, shows no relation either"),
    ):
        for family, runs in families.items():
            fits = _fits(measurements, runs)
            header, slopes = ClaimHeader(2, claim, family, runs), [fit.slope for fit in fits]
            yield decide_equivalent(header, SLOPE, _mean_slope(fits), MARGIN, each=slopes, note=_ranges(fits))
    for (baseline, baseline_runs), (nsae, nsae_runs) in product(baselines.items(), nsaes.items()):
        slopes_of = [_mean_slope(_fits(measurements, runs)) for runs in (baseline_runs, nsae_runs)]
        gap = _gap(*slopes_of)
        runs = [*baseline_runs, *nsae_runs]
        header = ClaimHeader(2, "the baseline's slope is above NSAE's", f"{baseline} − {nsae}", runs)
        yield decide_above(header, f"difference of the {SLOPE}", gap, MARGIN)
    for family, runs in nsaes.items():
        rises = [rise for rise in (_rise_in_the_middle(_l0(measurements, run)) for run in runs) if rise is not None]
        header = ClaimHeader(2, "NSAE's L0 rises over depth, then falls", family, runs)
        statistic = "height of the middle of a parabola through log L0, above its higher end"
        yield decide_above(header, statistic, _mean(rises), 0)


def fit_l0_to_norm(measurements: Measurements, run: TrainedRun) -> LogLogFit | None:
    """Fit log L0, noise off, against log mean ‖x‖₂ over the run's layers."""
    norms = np.array([measurements.mean_norm(hook) for hook in run.hooks])
    return fit_log_log(norms, _l0(measurements, run))


def _fits(measurements: Measurements, runs: Sequence[TrainedRun]) -> list[LogLogFit]:
    return [fit for fit in (fit_l0_to_norm(measurements, run) for run in runs) if fit is not None]


def _mean_slope(fits: Sequence[LogLogFit]) -> Estimate | None:
    return _mean([fit.slope for fit in fits])


def _mean(over_layers: Sequence[Estimate]) -> Estimate | None:
    """Return the mean over runs; None if they have different numbers of layers."""
    return mean_of(over_layers) if len({len(estimate.shares) for estimate in over_layers}) == 1 else None


def _gap(first: Estimate | None, second: Estimate | None) -> Estimate | None:
    same = first is not None and second is not None and len(first.shares) == len(second.shares)
    return difference(first, second) if same and first is not None and second is not None else None


def _ranges(fits: Sequence[LogLogFit]) -> str:
    """Return the ranges of p and ρ over the runs, for a note."""
    return f"p {_range([fit.p for fit in fits])}, ρ {_range([fit.rho for fit in fits])}" if fits else ""


def _range(values: Sequence[float]) -> str:
    low, high = short(min(values)), short(max(values))
    return low if low == high else f"{low} to {high}"


def _l0(measurements: Measurements, run: TrainedRun) -> Float:
    """Return the run's L0 per layer [layers]; 0 if it was not measured."""
    estimates = [measurements.value(run, hook, "l0") for hook in run.hooks]
    return np.array([0.0 if estimate is None else estimate.value for estimate in estimates])


def _rise_in_the_middle(l0: Float) -> Estimate | None:
    """Fit a parabola to log L0 [layers] over depth; return how far its middle lies above its higher end.

    Return None with fewer than 4 layers, or if an L0 is 0.
    """
    if len(l0) < 4 or not (l0 > 0).all():
        return None
    depth, log_l0 = np.linspace(0, 1, len(l0)), np.log(l0)

    def rise(layers: NDArray[np.int64]) -> float:
        first, middle, last = np.polyval(np.polyfit(depth[layers], log_l0[layers], 2), [0, 0.5, 1])
        return float(middle - max(first, last))

    return over_points(rise, len(l0))
