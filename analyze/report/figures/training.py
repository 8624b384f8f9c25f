"""Measures over training: by layer (Figs. 1, 2), as means over layers (Figs. 6, 10, 15), of one layer (Fig. 11)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyze.measure.measurements import Measurements
from analyze.measure.patching.over_training import SnapshotRow, mean_over_replicas, snapshot_rows
from analyze.report.figures.base import (
    Families,
    ReportFigure,
    configurations_by_family,
    has_noise,
    runs_by_family,
)
from analyze.report.figures.style import Style, layer_colour, legend, panels, rows_axis, run_styles, unique, value_axis
from analyze.runs.training_curves import CurveRow, as_trained, curve_rows, mean_curves
from analyze.tables import layers
from train.measures import measure_of, title_of


def training_figures(measurements: Measurements) -> Iterator[ReportFigure]:
    """Yield Figs. 1, 2, 6 and 15, from the measures that training recorded."""
    curves = mean_curves(measurements.training, measurements.configurations)
    rows, recorded = curve_rows(curves), curve_rows(as_trained(curves))
    noisy = has_noise(measurements)
    for number, measure in ((1, "l1"), (2, "l0")):
        shown = [row for row in recorded if row.measure == measure and row.value > 0]
        if shown:
            sample = "Training batches" if shown[0].split == "train" else "Held-out split"
            yield ReportFigure(
                f"figure_{number:02}_{measure}", f"Figure {number}. {title_of(measure)} over training, by layer",
                f"{sample}{', NSAE with its noise' * noisy}; one line per layer, one panel per configuration.",
                by_layer(shown, measure), shown,
            )  # fmt: skip
    for name, title, measures in (
        ("figure_06_suppression", "Figure 6. Feature suppression over training", ("suppression", "gamma")),
        ("figure_15_l2", "Figure 15. L2 over training", ("l2", "explained_variance")),
    ):
        of_measures = [row for row in rows if row.split == "heldout" and row.measure in measures]
        if of_measures:
            yield ReportFigure(
                name, title, "Held-out split, mean over seeds and over the layers that all runs have. "
                f"{'NSAE with noise off (solid) and on (dotted). ' * noisy}Runs differ in L0, so the heights alone do "
                "not rank architectures.",
                means(of_measures, configurations_by_family(measurements), measures), of_measures,
            )  # fmt: skip


def snapshot_figures(measurements: Measurements) -> Iterator[ReportFigure]:
    """Yield Figs. 10 and 11, from the snapshots patched into the language model."""
    rows = snapshot_rows(measurements.over_training)
    if not rows:
        return
    means_over_seeds = mean_over_replicas(measurements.over_training, measurements.configurations)
    score = [row for row in snapshot_rows(means_over_seeds) if row.measure in ("score", "kl")]
    yield ReportFigure(
        "figure_10_score", "Figure 10. Reconstruction score over training",
        "From the snapshots, mean over seeds and layers, on few contexts (see the scope). Right: KL.",
        means(score, configurations_by_family(measurements), ("score", "kl")), score,
    )  # fmt: skip
    closest = closest_in_l0(measurements)
    if closest is not None:
        hook, *runs = closest
        shown = [row for row in rows if row.hook == hook and row.run in runs and not row.noise]
        yield ReportFigure(
            "figure_11_matched", f"Figure 11. {hook}, where L0 of baseline and NSAE is closest",
            "L0 and reconstruction score over training, noise off, with 95 % intervals over documents.",
            one_layer(shown, runs_by_family(measurements), ("l0", "score")), shown,
        )  # fmt: skip


def closest_in_l0(measurements: Measurements) -> tuple[str, str, str] | None:
    """Return (hook, baseline run, NSAE run) whose L0, noise off, differ by the smallest factor; None without any."""
    candidates: list[tuple[float, tuple[str, str, str]]] = []
    for pair in measurements.pairs():
        for baseline, nsae in product(pair.baseline, pair.nsae):
            for hook in baseline.hooks:
                first, second = (measurements.value(run, hook, "l0") for run in (baseline, nsae))
                if first and second and first.value > 0 and second.value > 0:
                    factor = max(first.value / second.value, second.value / first.value)
                    candidates.append((factor, (hook, baseline.name, nsae.name)))
    return min(candidates)[1] if candidates else None


def by_layer(points: Sequence[CurveRow], measure: str) -> Figure:
    """Draw a panel per run and a line per layer. points: of one split and measure."""
    runs, hooks = unique(p.run for p in points), unique(p.hook for p in points)
    names = layers(hooks)
    figure, axes = panels(runs, columns=4, share_y=True)
    for panel, run in zip(axes, runs, strict=True):
        for i, hook in enumerate(hooks):
            of_sae = [p for p in points if (p.run, p.hook) == (run, hook)]
            rows, values = [p.rows for p in of_sae], [p.value for p in of_sae]
            panel.plot(rows, values, color=layer_colour(i, len(hooks)), linewidth=1, label=names[i])
        value_axis(panel, [p.value for p in points], log=measure_of(measure).log_axis)
        rows_axis(panel)
    figure.supylabel(measure_of(measure).axis_label)
    legend(figure, axes, title="layer", columns=12)
    return figure


def means(points: Sequence[CurveRow] | Sequence[SnapshotRow], families: Families, measures: Sequence[str]) -> Figure:
    """Draw a panel per measure and a line per run, noise off and on: means over the layers that all runs have."""
    styles = run_styles(families)
    hooks_by_run = [{p.hook for p in points if p.run == run} for run in unique(p.run for p in points)]
    common = set.intersection(*hooks_by_run) or set.union(*hooks_by_run)
    figure, axes = panels([measure_of(measure).axis_label for measure in measures], columns=2)
    for panel, measure in zip(axes, measures, strict=True):
        of_measure = [p for p in points if p.measure == measure and p.hook in common]
        for run, noise in unique((p.run, p.noise) for p in of_measure):
            of_run = [p for p in of_measure if (p.run, p.noise) == (run, noise)]
            rows = unique(p.rows for p in of_run)
            values = [float(np.mean([p.value for p in of_run if p.rows == n])) for n in rows]
            _draw(panel, rows, values, run, styles[run], noise)
        value_axis(panel, [p.value for p in of_measure], log=measure_of(measure).log_axis)
        rows_axis(panel)
    legend(figure, axes)
    return figure


def one_layer(points: Sequence[SnapshotRow], families: Families, measures: Sequence[str]) -> Figure:
    """Draw a panel per measure and a line per run, with intervals. points: of one hook, noise off."""
    styles = run_styles(families)
    figure, axes = panels([measure_of(measure).axis_label for measure in measures], columns=2)
    for panel, measure in zip(axes, measures, strict=True):
        for run in unique(p.run for p in points):
            of_run = [p for p in points if (p.run, p.measure) == (run, measure)]
            rows = [p.rows for p in of_run]
            _draw(panel, rows, [p.value for p in of_run], run, styles[run], noise=False)
            panel.fill_between(
                rows, [p.low for p in of_run], [p.high for p in of_run], color=styles[run].colour, alpha=0.15
            )
        value_axis(panel, [p.value for p in points if p.measure == measure])
        rows_axis(panel)
    legend(figure, axes)
    return figure


def _draw(panel: Axes, rows: Sequence[int], values: Sequence[float], run: str, style: Style, noise: bool) -> None:
    panel.plot(rows, values, label=f"{run}, noise on" if noise else run, **style.line(hollow=noise))
