"""Over training: by layer (Figs. 1, 2), a run's mean over layers (Figs. 6, 10, 15), one layer alone (Fig. 11)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from analyze.report.figures.style import Style, layer_colour, legend, log_axis, panels, run_styles, unique
from analyze.tables import Row, layers
from train.measures import measure_of

Families = Mapping[str, Sequence[str]]


def by_layer(lines: Sequence[Row], measure: str) -> Figure:
    """A panel for each run, a line for each layer; `lines` are training.curve_lines's, of one split."""
    runs, hooks = unique(li["run"] for li in lines), unique(li["hook"] for li in lines)
    names = layers(hooks)
    figure, axes = panels(runs, columns=4, share_y=True)
    for panel, run in zip(axes, runs, strict=True):
        for i, hook in enumerate(hooks):
            rows, values = _points(lines, run, hook)
            panel.plot(rows, values, color=layer_colour(i, len(hooks)), linewidth=1, label=names[i])
        if measure_of(measure).log_axis:
            log_axis(panel, "y")
        _rows_axis(panel)
    figure.supylabel(measure_of(measure).axis_label)
    legend(figure, axes, title="layer", columns=12)
    return figure


def means(lines: Sequence[Row], families: Families, measures: Sequence[str]) -> Figure:
    """A panel for each measure, a line for each run: its mean over the layers that all have, noise off and on."""
    styles = run_styles(families)
    hooks_of = [{li["hook"] for li in lines if li["run"] == run} for run in unique(li["run"] for li in lines)]
    common = set.intersection(*hooks_of) or set.union(*hooks_of)
    figure, axes = panels([measure_of(measure).axis_label for measure in measures], columns=2)
    for panel, measure in zip(axes, measures, strict=True):
        here = [line for line in lines if line["measure"] == measure and line["hook"] in common]
        for run, noise in unique((li["run"], li["noise"]) for li in here):
            mine = [li for li in here if (li["run"], li["noise"]) == (run, noise)]
            rows = unique(li["rows"] for li in mine)
            values = [np.mean([li["value"] for li in mine if li["rows"] == n]) for n in rows]
            _draw(panel, rows, values, run, styles[run], noise)
        if measure_of(measure).log_axis:
            log_axis(panel, "y")
        _rows_axis(panel)
    legend(figure, axes)
    return figure


def one_layer(lines: Sequence[Row], families: Families, measures: Sequence[str]) -> Figure:
    """A panel for each measure, a line for each run, with intervals; `lines` are of one hook, noise off."""
    styles = run_styles(families)
    figure, axes = panels([measure_of(measure).axis_label for measure in measures], columns=2)
    for panel, measure in zip(axes, measures, strict=True):
        for run in unique(li["run"] for li in lines):
            mine = [li for li in lines if (li["run"], li["measure"]) == (run, measure)]
            rows = [li["rows"] for li in mine]
            _draw(panel, rows, [li["value"] for li in mine], run, styles[run], noise=False)
            panel.fill_between(
                rows, [li["low"] for li in mine], [li["high"] for li in mine], color=styles[run].colour, alpha=0.15
            )
        _rows_axis(panel)
    legend(figure, axes)
    return figure


def _points(lines: Sequence[Row], run: str, hook: str) -> tuple[list[int], list[float]]:
    mine = [li for li in lines if (li["run"], li["hook"]) == (run, hook)]
    return [li["rows"] for li in mine], [li["value"] for li in mine]


def _draw(panel: Axes, rows: Sequence[int], values: Sequence[float], run: str, style: Style, noise: bool) -> None:
    panel.plot(rows, values, label=f"{run}, noise on" if noise else run, **style.line(hollow=noise))


def _rows_axis(panel: Axes) -> None:
    panel.xaxis.set_major_formatter(EngFormatter(sep=""))
    panel.set_xlabel("activations seen", fontsize=8)
