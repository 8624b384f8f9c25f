"""The L0 controller over training: the number that it adjusts, L0 over its target, and the loss."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from matplotlib.figure import Figure

from analyze.measure.measurements import Measurements
from analyze.report.figures.base import ReportFigure
from analyze.report.figures.style import layer_colour, legend, log_axis, panels, rows_axis, unique
from analyze.runs.trained_run import TrainedRun
from analyze.runs.training_curves import TrainingCurve, curve_lines
from analyze.tables import Row, layers

L0_OVER_TARGET = "L0 / target"


def target_figures(measurements: Measurements) -> Iterator[ReportFigure]:
    """Yield the path of each run's coefficient to its `--target-l0`; nothing without such runs."""
    runs = [run for run in measurements.runs if run.settings.run.settings.adjusted_to]
    lines = controller_lines(measurements.training, runs)
    if lines:
        yield ReportFigure(
            "target_l0", "The coefficient, L0 over its target, and the loss over training",
            "Training batches of the runs with --target-l0, one line per layer, one row of panels per run. Left: the "
            "coefficient, or for jumprelu the L0 at which its loss has its minimum. Middle: the mean L0 that the "
            "controller follows, noise off; the band is ±2 %.",
            draw_controller(lines), lines,
        )  # fmt: skip


def controller_lines(curves: Sequence[TrainingCurve], runs: Sequence[TrainedRun]) -> list[Row]:
    """Return a line per point: `value` of the adjusted number, of L0 over its target, and of the loss."""
    targets = {run.name: run.target_l0 for run in runs}
    shown = [curve for curve in curves if curve.run in targets and curve.split == "train"]
    followed = {curve.run for curve in shown if curve.measure == "mean_l0"}
    lines = []
    for line in curve_lines(shown):
        # Earlier versions did not record the mean.
        if line["measure"] == ("mean_l0" if line["run"] in followed else "l0"):
            lines.append({**line, "measure": L0_OVER_TARGET, "value": line["value"] / targets[line["run"]]})
        elif line["measure"] in ("coefficient", "setpoint", "loss"):
            lines.append(line)
    return lines


def draw_controller(lines: Sequence[Row]) -> Figure:
    """Draw three panels per run, and a line per layer. lines: from controller_lines."""
    hooks, by_panel = unique(line["hook"] for line in lines), defaultdict[tuple[str, str], dict[str, list[Row]]](dict)
    for line in lines:
        by_panel[line["run"], line["measure"]].setdefault(line["hook"], []).append(line)
    runs = unique(run for run, _ in by_panel)
    shown = [
        (run, measure)
        for run in runs
        for measure in ("coefficient", "setpoint", L0_OVER_TARGET, "loss")
        if (run, measure) in by_panel
    ]
    figure, axes = panels([f"{run}: {measure}" for run, measure in shown], columns=3)
    for panel, (run, measure) in zip(axes, shown, strict=True):
        for i, hook in enumerate(hooks):
            points = by_panel[run, measure].get(hook, [])
            panel.plot(
                [p["rows"] for p in points], [p["value"] for p in points], color=layer_colour(i, len(hooks)),
                linewidth=1, label=layers(hooks)[i],
            )  # fmt: skip
        if measure == L0_OVER_TARGET:
            panel.axhspan(0.98, 1.02, color="0.85")
        log_axis(panel, "y")
        rows_axis(panel)
    legend(figure, axes, title="layer", columns=12)
    return figure
