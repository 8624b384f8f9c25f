"""Histograms of dictionaries: decoder norms (Fig. 12), cosines (13), cosines of the longest (14), firing density."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from analyze.report.figures.style import layer_colour, legend, log_axis, panels, unique
from analyze.tables import Row, layers


def histograms(lines: Sequence[Row], label: str, *, log_x: bool = False, log_y: bool = False) -> Figure:
    """A panel for each run, a line for each layer; lines have run, hook, low, high, count, for bins that have any."""
    runs, hooks = unique(li["run"] for li in lines), unique(li["hook"] for li in lines)
    names = layers(hooks)
    figure, axes = panels(runs, columns=4, share_y=False)
    for panel, run in zip(axes, runs, strict=True):
        for i, hook in enumerate(hooks):
            bins = [li for li in lines if (li["run"], li["hook"]) == (run, hook)]
            if bins:
                x, y = _outline(bins)
                panel.plot(x, y, color=layer_colour(i, len(hooks)), linewidth=1, label=names[i])
        if log_x:
            log_axis(panel, "x")
        if log_y:
            log_axis(panel, "y")
    figure.supxlabel(label)
    figure.supylabel("share in the bin")
    legend(figure, axes, title="layer", columns=12)
    return figure


def _outline(bins: Sequence[Row]) -> tuple[list[float], list[float]]:
    """The histogram's steps, at 0 where bins are missing."""
    total, x, y = sum(b["count"] for b in bins), list[float](), list[float]()
    for i, b in enumerate(bins):
        if i == 0 or bins[i - 1]["high"] < b["low"]:
            x += [bins[i - 1]["high"], b["low"]] if i else [b["low"]]
            y += [0.0, 0.0] if i else [0.0]
        x += [b["low"], b["high"]]
        y += [b["count"] / total] * 2
    return [*x, bins[-1]["high"]], [*y, 0.0]
