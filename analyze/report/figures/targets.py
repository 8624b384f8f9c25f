"""The L0 controller over training: the number that it adjusts, L0 over its target, and the loss."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from matplotlib.figure import Figure

from analyze.measure.measurements import Measurements
from analyze.report.figures.base import ReportFigure
from analyze.report.figures.style import layer_colour, legend, log_axis, panels, rows_axis, unique
from analyze.runs.configurations import Configuration
from analyze.runs.training_curves import CurveRow, TrainingCurve, curve_rows, mean_curves
from analyze.tables import layers

L0_OVER_TARGET = "L0 / target"
SHOWN = ("coefficient", "setpoint", "mean_l0", "l0", "loss")


def target_figures(measurements: Measurements) -> Iterator[ReportFigure]:
    """Yield the path of each configuration's coefficient to its `--target-l0`; nothing without such runs."""
    adjusted = [
        configuration
        for configuration in measurements.configurations
        if configuration.settings.run.settings.adjusted_to
    ]
    points = controller_rows(measurements.training, adjusted)
    if points:
        yield ReportFigure(
            "target_l0", "The coefficient, L0 over its target, and the loss over training",
            "Training batches of the runs with --target-l0, means over seeds, one line per layer, three panels per "
            "configuration. Left: the coefficient, or for jumprelu the L0 at which its loss has its minimum. "
            "Middle: the mean L0 that the controller follows, noise off; the band is ±2 %.",
            draw_controller(points), points,
        )  # fmt: skip


def controller_rows(curves: Sequence[TrainingCurve], configurations: Sequence[Configuration]) -> list[CurveRow]:
    """Return a row per point: `value` of the adjusted number, of L0 over its target, and of the loss.

    curves: of runs. They are averaged over the replicas of the configurations.
    """
    targets = {configuration.name: configuration.replicas[0].target_l0 for configuration in configurations}
    batches = [curve for curve in curves if curve.split == "train" and curve.measure in SHOWN]
    shown = mean_curves(batches, configurations)
    followed = {curve.run for curve in shown if curve.measure == "mean_l0"}
    rows = []
    for row in curve_rows(shown):
        # Earlier versions did not record the mean.
        if row.measure == ("mean_l0" if row.run in followed else "l0"):
            rows.append(replace(row, measure=L0_OVER_TARGET, value=row.value / targets[row.run]))
        elif row.measure in ("coefficient", "setpoint", "loss"):
            rows.append(row)
    return rows


def draw_controller(rows: Sequence[CurveRow]) -> Figure:
    """Draw three panels per configuration, and a line per layer. rows: from controller_rows."""
    hooks, by_panel = unique(row.hook for row in rows), defaultdict[tuple[str, str], dict[str, list[CurveRow]]](dict)
    for row in rows:
        by_panel[row.run, row.measure].setdefault(row.hook, []).append(row)
    runs = unique(run for run, _ in by_panel)
    shown = [
        (run, measure)
        for run in runs
        for measure in ("coefficient", "setpoint", L0_OVER_TARGET, "loss")
        if (run, measure) in by_panel
    ]
    figure, axes = panels([f"{run}:\n{measure}" for run, measure in shown], columns=3)
    for panel, (run, measure) in zip(axes, shown, strict=True):
        for i, hook in enumerate(hooks):
            points = by_panel[run, measure].get(hook, [])
            panel.plot(
                [p.rows for p in points], [p.value for p in points], color=layer_colour(i, len(hooks)),
                linewidth=1, label=layers(hooks)[i],
            )  # fmt: skip
        if measure == L0_OVER_TARGET:
            panel.axhspan(0.98, 1.02, color="0.85")
        log_axis(panel, "y")
        rows_axis(panel)
    legend(figure, axes, title="layer", columns=12)
    return figure
