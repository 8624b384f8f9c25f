"""Pareto curves as files: a measure against L0 for each family of runs."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from analyze.report.figures.style import Style, legend, log_axis, panels, unique
from analyze.report.palette import family_styles
from analyze.tables import Row
from train.measures import measure_of


def pareto(lines: Sequence[Row], measure: str) -> Figure:
    """Draw a panel per hook and a curve per family, noise off and on. lines: from curve_lines."""
    of_measure = [line for line in lines if line["measure"] == measure]
    hooks, kinds = unique(li["hook"] for li in of_measure), unique((li["family"], li["noise"]) for li in of_measure)
    styles = {
        family: Style(own.colour, own.point.marker, own.dash)
        for family, own in family_styles(unique(family for family, _ in kinds)).items()
    }
    figure, axes = panels(hooks)
    for panel, hook in zip(axes, hooks, strict=True):
        for family, noise in kinds:
            points = [li for li in of_measure if (li["hook"], li["family"], li["noise"]) == (hook, family, noise)]
            bars = [[p["value"] - p["low"] for p in points], [p["high"] - p["value"] for p in points]]
            panel.errorbar(
                [p["l0"] for p in points], [p["value"] for p in points],
                yerr=[[max(b, 0) for b in side] for side in bars], elinewidth=0.8,
                label=f"{family}, noise on" if noise else family,
                **styles[family].line(hollow=noise),
            )  # fmt: skip
        log_axis(panel, "x")
    figure.supxlabel(measure_of("l0").axis_label)
    figure.supylabel(measure_of(measure).axis_label)
    legend(figure, axes)
    return figure
