"""A measure against L0 for each family of runs: the curves that readers asked for."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from analyze.report.figures.style import family_style, legend, log_axis, panels, unique
from analyze.tables import Row
from train.measures import measure_of


def pareto(lines: Sequence[Row], measure: str) -> Figure:
    """Noise off and on; a panel a hook. `lines` are pareto.curve_lines's."""
    here = [line for line in lines if line["measure"] == measure]
    hooks, kinds = unique(li["hook"] for li in here), unique((li["family"], li["noise"]) for li in here)
    family_names = unique(family for family, _ in kinds)
    figure, axes = panels(hooks)
    for panel, hook in zip(axes, hooks, strict=True):
        for family, noise in kinds:
            points = [li for li in here if (li["hook"], li["family"], li["noise"]) == (hook, family, noise)]
            bars = [[p["value"] - p["low"] for p in points], [p["high"] - p["value"] for p in points]]
            panel.errorbar(
                [p["l0"] for p in points], [p["value"] for p in points],
                yerr=[[max(b, 0) for b in side] for side in bars], elinewidth=0.8,
                label=f"{family}, noise on" if noise else family,
                **family_style(family_names.index(family)).line(hollow=noise),
            )  # fmt: skip
        log_axis(panel, "x")
    figure.supxlabel(measure_of("l0").axis_label)
    figure.supylabel(measure_of(measure).axis_label)
    legend(figure, axes)
    return figure
