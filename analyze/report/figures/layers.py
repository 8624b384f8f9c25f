"""Measures over the layers: L0 against the input norm (Fig. 7), L0 (8), L1 beside L0 (9), silent and dead (16)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from matplotlib.figure import Figure

from analyze.measure.measurements import Measurements
from analyze.report.figures.base import (
    Families,
    ReportFigure,
    configurations_by_family,
    has_noise,
    has_variant,
    runs_by_family,
)
from analyze.report.figures.style import layer_axis, legend, log_axis, panels, run_styles, unique, value_axis
from analyze.runs.trained_run import TrainedRun
from analyze.statistics.estimates import Key
from analyze.statistics.jackknife import Float
from analyze.statistics.slopes import slope
from data.store.stats import Subset
from train.measures import measure_of


@dataclass(frozen=True)
class SparsityRow:
    """L0 or L1 of a configuration at a hook, with its 95 % interval from `low` to `high`."""

    run: str
    hook: str
    noise: bool
    measure: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ActivityRow:
    """How many features of a configuration do not fire at a hook, in a batch or in `rows` rows, as `measure` says."""

    run: str
    hook: str
    noise: bool
    rows: int
    measure: str
    value: float


@dataclass(frozen=True)
class Fit:
    """A straight line of log L0 against log ‖x‖₂, with the 95 % interval of its slope; NaN for too few layers."""

    slope: float
    low: float
    high: float
    intercept: float


@dataclass(frozen=True)
class NormPoint:
    """L0 and the mean input norm of a run at a hook, with the fit through the run's points."""

    run: str
    family: str
    hook: str
    mean_norm: float
    l0: float
    fit: Fit


def layer_figures(measurements: Measurements) -> Iterator[ReportFigure]:
    """Yield Figs. 7, 8, 9 and 16, from the held-out split."""
    families = runs_by_family(measurements)
    yield from _norm_figure(measurements, families)
    rows, of_configurations = _sparsity_rows(measurements), configurations_by_family(measurements)
    only_l0 = [row for row in rows if row.measure == "l0"]
    if only_l0:
        yield ReportFigure(
            "figure_08_l0", "Figure 8. L0 over the layers",
            f"Held-out split{'; NSAE with noise off (solid) and on (dotted)' * has_noise(measurements)}.",
            over_layers(only_l0, of_configurations, {"l0": measure_of("l0").axis_label}, log=True), only_l0,
        )  # fmt: skip
        off = [row for row in rows if not row.noise]
        yield ReportFigure(
            "figure_09_l1_beside_l0", "Figure 9. L1 beside L0",
            "L1 solid, L0 dashed." + " The baseline's L1 has the activations' units, so compare how much L1/L0 varies "
            "over the layers rather than how close L1 and L0 are." * has_variant(measurements, "baseline"),
            l1_beside_l0(off, of_configurations), off,
        )  # fmt: skip
    yield _activity_figure(measurements, of_configurations)


def _activity_figure(measurements: Measurements, of_configurations: Families) -> ReportFigure:
    batch, rows = measurements.fires[0].all.batch, measurements.fires[0].all.rows
    silent, dead = f"features silent in a batch of {batch}", f"dead fraction in {rows:,} rows"
    counts = {(sae.run.name, sae.hook, sae.noise): sae.all for sae in measurements.fires}
    activity = []
    for configuration, noise in product(measurements.configurations, (False, True)):
        for hook in configuration.hooks if noise in configuration.noises else ():
            of_replicas = [counts[run.name, hook, noise] for run in configuration.replicas]
            about = configuration.name, hook, noise, rows
            activity += [
                ActivityRow(*about, silent, float(np.mean([count.silent for count in of_replicas]))),
                ActivityRow(*about, dead, float(np.mean([count.dead for count in of_replicas]))),
            ]
    return ReportFigure(
        "figure_16_silent", "Figure 16. Silent features (\"neuron activity\" in the post) and dead features",
        f"Left: the count of features that do not fire in a batch of {batch} held-out rows, as in the author's code. "
        f"Right: the share of features that never fire in {rows:,} rows. Means over seeds.",
        over_layers(activity, of_configurations, {silent: silent, dead: dead}), activity,
    )  # fmt: skip


def _norm_figure(measurements: Measurements, families: Families) -> Iterator[ReportFigure]:
    family_of = {run: family for family, runs in families.items() for run in runs}
    points = [point for run in measurements.runs for point in _norm_points(measurements, run, family_of[run.name])]
    if points:
        yield ReportFigure(
            "figure_07_l0_against_norm", "Figure 7. L0 against the mean input norm",
            "One point per layer, held-out split, noise off. Lines are least-squares fits of log L0 to log ‖x‖₂, with "
            "95 % intervals that allow for any correlation of neighbouring layers. The norm grows with depth.",
            l0_against_norm(points, families), points,
        )  # fmt: skip


def _norm_points(measurements: Measurements, run: TrainedRun, family: str) -> list[NormPoint]:
    """Return the points of the hooks at which a run fires."""
    l0 = {hook: l0.value for hook in run.hooks if (l0 := measurements.value(run, hook, "l0")) and l0.value > 0}
    norms = [measurements.mean_norm(hook) for hook in l0]
    fit = _fit(np.log(norms), np.log(list(l0.values())))
    return [NormPoint(run.name, family, hook, norm, l0[hook], fit) for hook, norm in zip(l0, norms, strict=True)]


def _fit(log_norms: Float, log_l0: Float) -> Fit:
    fit = slope(log_norms, log_l0)
    if np.isnan(fit.value):
        return Fit(*[math.nan] * 4)
    return Fit(fit.value, *fit.interval(), float(log_l0.mean() - fit.value * log_norms.mean()))


def _sparsity_rows(measurements: Measurements) -> list[SparsityRow]:
    """Return L0 and L1 of each configuration that fires, by hook, noise off and on."""
    estimates = measurements.held_out_of_configurations
    return [
        SparsityRow(configuration.name, hook, noise, measure, estimate.value, *estimate.interval)
        for measure in ("l0", "l1") for configuration in measurements.configurations for noise in (False, True)
        for hook in configuration.hooks
        if (estimate := estimates.get(Key(configuration.name, hook, noise, Subset.ALL, measure))) and estimate.value > 0
    ]  # fmt: skip


def l0_against_norm(points: Sequence[NormPoint], families: Families) -> Figure:
    """Draw a panel per family, a point per layer and a fitted line per run; both axes are logarithmic."""
    styles, names = run_styles(families), [name for name in families if any(p.family == name for p in points)]
    figure, axes = panels(names, columns=2, share_y=True)
    for panel, family in zip(axes, names, strict=True):
        for run in unique(p.run for p in points if p.family == family):
            of_run = [p for p in points if p.run == run]
            norms, l0 = [p.mean_norm for p in of_run], [p.l0 for p in of_run]
            panel.plot(norms, l0, **{**styles[run].line(), "linestyle": "none"})
            fit = of_run[0].fit
            if not math.isnan(fit.slope):
                x = np.array([min(norms), max(norms)])
                label = f"{run}: slope {fit.slope:.2f} [{fit.low:.2f}, {fit.high:.2f}]"
                panel.plot(
                    x, np.exp(fit.intercept) * x**fit.slope, color=styles[run].colour, linewidth=1.2, label=label
                )
        log_axis(panel, "x")
        log_axis(panel, "y")
        panel.set_xlabel("mean ‖x‖₂ of the layer")
    figure.supylabel(measure_of("l0").axis_label)
    legend(figure, axes, columns=2)
    return figure


def over_layers(
    rows: Sequence[SparsityRow] | Sequence[ActivityRow], families: Families, titles: Mapping[str, str], *,
    log: bool = False,
) -> Figure:  # fmt: skip
    """Draw a panel per measure, with its title in `titles`, and a line per run over the layers, noise off and on.

    log: the axes are logarithmic; otherwise `value_axis` decides.
    """
    styles, hooks = run_styles(families), unique(row.hook for row in rows)
    figure, axes = panels(list(titles.values()), columns=2)
    for panel, measure in zip(axes, titles, strict=True):
        of_measure = [row for row in rows if row.measure == measure]
        for run, noise in unique((row.run, row.noise) for row in of_measure):
            of_run = [row for row in of_measure if (row.run, row.noise) == (run, noise)]
            x = [hooks.index(row.hook) for row in of_run]
            label = f"{run}, noise on" if noise else run
            panel.plot(x, [row.value for row in of_run], label=label, **styles[run].line(hollow=noise))
        value_axis(panel, [row.value for row in of_measure], log=log)
        layer_axis(panel, hooks)
    legend(figure, axes)
    return figure


def l1_beside_l0(rows: Sequence[SparsityRow], families: Families) -> Figure:
    """Draw a panel per family: L1 (solid) and L0 (dashed) of each run over the layers."""
    styles, hooks = run_styles(families), unique(row.hook for row in rows)
    drawn = {name: [run for run in runs if any(row.run == run for row in rows)] for name, runs in families.items()}
    names = [name for name, runs in drawn.items() if runs]
    figure, axes = panels(names, columns=2)
    for panel, family in zip(axes, names, strict=True):
        for run in drawn[family]:
            for measure, dashes in (("l1", "-"), ("l0", "--")):
                of_run = [row for row in rows if (row.run, row.measure) == (run, measure)]
                panel.plot(
                    [hooks.index(row.hook) for row in of_run], [row.value for row in of_run],
                    label=f"{run} {measure.upper()}", **{**styles[run].line(), "linestyle": dashes},
                )  # fmt: skip
        log_axis(panel, "y")
        layer_axis(panel, hooks)
    figure.supylabel("mean over tokens")
    legend(figure, axes, columns=4)
    return figure
