"""Pareto curves: a measure against L0 for each family of runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from matplotlib.figure import Figure

from analyze.compare.curves import HELD_OUT, PATCHED, curve_lines
from analyze.measure.measurements import Measurements
from analyze.report.figures.base import ReportFigure
from analyze.report.figures.style import Style, legend, log_axis, panels, unique
from analyze.report.palette import family_styles
from analyze.tables import Row
from train.measures import Sample, Shown, measure_of, measures_on


def pareto_figures(measurements: Measurements) -> Iterator[ReportFigure]:
    """Yield a figure per measure that is compared at equal L0."""
    for name, estimates, sample in (
        (HELD_OUT, measurements.held_out_of_configurations, Sample.HELD_OUT),
        (PATCHED, measurements.patched_of_configurations, Sample.PATCHED),
    ):  # fmt: skip
        lines = curve_lines(estimates, measurements.configurations, name) if estimates else []
        for measure in measures_on(sample, Shown.AT_EQUAL_L0).values():
            shown = [line for line in lines if line["measure"] == measure.name]
            if shown:
                yield ReportFigure(
                    f"pareto_{measure.name}", f"{measure.title[0].upper()}{measure.title[1:]} against L0",
                    "One curve per family (points that differ only in α), one panel per layer, with 95 % intervals "
                    "over documents and, where there are several, seeds.",
                    pareto(shown, measure.name), shown,
                )  # fmt: skip


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
