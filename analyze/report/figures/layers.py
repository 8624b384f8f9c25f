"""Measures over the layers: L0 against the inputs' norm (Fig. 7), L0 (8), L1 beside L0 (9), silent and dead (16)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from analyze.report.figures.style import layer_axis, legend, log_axis, panels, run_styles, unique
from analyze.tables import Row
from train.measures import measure_of

Families = Mapping[str, Sequence[str]]


def l0_against_norm(points: Sequence[Row], fits: Sequence[Row], families: Families) -> Figure:
    """A panel for each family, a point for each layer and a fitted line for each run, both axes logarithmic.

    `points`: run, family, hook, mean_norm, l0. `fits`: run, slope, low, high, p, intercept.
    """
    styles, names = run_styles(families), [name for name in families if any(p["family"] == name for p in points)]
    figure, axes = panels(names, columns=2, share_y=True)
    for panel, family in zip(axes, names, strict=True):
        for run in unique(p["run"] for p in points if p["family"] == family):
            mine = [p for p in points if p["run"] == run]
            panel.plot(
                [p["mean_norm"] for p in mine], [p["l0"] for p in mine], **{**styles[run].line(), "linestyle": "none"}
            )
            fit = next((f for f in fits if f["run"] == run), None)
            if fit is not None:
                x = np.array(sorted(p["mean_norm"] for p in mine))[[0, -1]]
                label = f"{run}: slope {fit['slope']:.2f} [{fit['low']:.2f}, {fit['high']:.2f}], p {fit['p']:.2g}"
                y = np.exp(fit["intercept"]) * x ** fit["slope"]
                panel.plot(x, y, color=styles[run].colour, linewidth=1.2, label=label)
        log_axis(panel, "x")
        log_axis(panel, "y")
        panel.set_xlabel("mean ‖x‖₂ of the layer")
    figure.supylabel(measure_of("l0").axis_label)
    legend(figure, axes, columns=2)
    return figure


def over_layers(lines: Sequence[Row], families: Families, titles: Mapping[str, str], *, log: bool) -> Figure:
    """Draw a panel per measure, whose title `titles` gives, and in it a line per run over the layers, noise off and on.

    `lines`: run, hook, noise, measure, value.
    """
    styles, hooks = run_styles(families), unique(li["hook"] for li in lines)
    figure, axes = panels(list(titles.values()), columns=2)
    for panel, measure in zip(axes, titles, strict=True):
        here = [li for li in lines if li["measure"] == measure]
        for run, noise in unique((li["run"], li["noise"]) for li in here):
            mine = [li for li in here if (li["run"], li["noise"]) == (run, noise)]
            x = [hooks.index(li["hook"]) for li in mine]
            label = f"{run}, noise on" if noise else run
            panel.plot(x, [li["value"] for li in mine], label=label, **styles[run].line(hollow=noise))
        if log:
            log_axis(panel, "y")
        layer_axis(panel, hooks)
    legend(figure, axes)
    return figure


def l1_beside_l0(lines: Sequence[Row], families: Families) -> Figure:
    """A panel for each family: L1 (solid) and L0 (dashed) of each run over the layers."""
    styles, hooks = run_styles(families), unique(li["hook"] for li in lines)
    here = {name: [run for run in runs if any(li["run"] == run for li in lines)] for name, runs in families.items()}
    names = [name for name, runs in here.items() if runs]
    figure, axes = panels(names, columns=2)
    for panel, family in zip(axes, names, strict=True):
        for run in here[family]:
            for measure, dashes in (("l1", "-"), ("l0", "--")):
                mine = [li for li in lines if (li["run"], li["measure"]) == (run, measure)]
                panel.plot(
                    [hooks.index(li["hook"]) for li in mine], [li["value"] for li in mine],
                    label=f"{run} {measure.upper()}", **{**styles[run].line(), "linestyle": dashes},
                )  # fmt: skip
        log_axis(panel, "y")
        layer_axis(panel, hooks)
    figure.supylabel("mean over tokens")
    legend(figure, axes, columns=4)
    return figure
