"""Histograms of dictionaries: decoder norms (Fig. 12), cosines (13), cosines of pillars (14), firing density."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from matplotlib.figure import Figure

from analyze.measure.measurements import Measurements
from analyze.report.figures.base import ReportFigure, has_variant
from analyze.report.figures.style import layer_colour, legend, log_axis, panels, unique
from analyze.tables import Row, layers
from data.store.stats import Subset

NORM = "‖W_dec‖₂ of a feature"
DICTIONARY_FIGURES = (  # name, title, histogram of DictionarySummary, axis label, axes that are logarithmic
    ("figure_12_norms", "Figure 12. Norms of live features", "norms of live features", NORM, "x"),
    ("figure_12_norms_relative", "Figure 12, relative to the input norm", "norms over the mean input norm",
     "‖W_dec‖₂ of a live feature / mean ‖x‖₂ of the layer", "x"),
    ("figure_12_norms_dead", "Figure 12, dead features", "norms of dead features", NORM, "x"),
    ("figure_13_cosines", "Figure 13. Cosines of all pairs of live features", "cosines of live pairs", "cosine", "y"),
    ("figure_14_cosines_pillars", "Figure 14. Cosines of the features with the largest norm (pillars)",
     "cosines of pillars", "cosine", "y"),
)  # fmt: skip


def dictionary_figures(measurements: Measurements) -> Iterator[ReportFigure]:
    """Yield Figs. 12, 13 and 14."""
    lines = [line for summary in measurements.dictionaries for line in summary.histograms]
    norm_1 = " The baseline's features have norm 1 by construction." * has_variant(measurements, "baseline")
    for name, title, histogram, label, log in DICTIONARY_FIGURES:
        shown = [line for line in lines if line["of"] == histogram]
        if shown:
            yield ReportFigure(
                name, title, "One panel per run, one line per layer." + norm_1,
                histograms(shown, label, log_x=log == "x", log_y=log == "y"), shown,
            )  # fmt: skip


def density_figures(measurements: Measurements) -> Iterator[ReportFigure]:
    """Yield the histogram of how often features fire."""
    density = [
        {"run": sae.run.name, "hook": sae.hook, "low": 10**low, "high": 10**high, "count": count}
        for sae in measurements.fires if not sae.noise
        for line in sae.lines() if line["subset"] == Subset.ALL
        for low, high, count in zip(
            line["density_log10_edges"][:-1], line["density_log10_edges"][1:], line["density_features"], strict=True
        ) if count
    ]  # fmt: skip
    if density:
        yield ReportFigure(
            "density", "How often features fire", "Share of held-out rows in which a live feature fires, noise off.",
            histograms(density, "share of rows", log_x=True), density,
        )  # fmt: skip


def histograms(lines: Sequence[Row], label: str, *, log_x: bool = False, log_y: bool = False) -> Figure:
    """Draw a panel per run and a line per layer. lines: run, hook, low, high, count of bins that are not empty."""
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
    """Return x and y of the histogram's steps, at 0 where bins are missing."""
    total, x, y = sum(b["count"] for b in bins), list[float](), list[float]()
    for i, b in enumerate(bins):
        if i == 0 or bins[i - 1]["high"] < b["low"]:
            x += [bins[i - 1]["high"], b["low"]] if i else [b["low"]]
            y += [0.0, 0.0] if i else [0.0]
        x += [b["low"], b["high"]]
        y += [b["count"] / total] * 2
    return [*x, bins[-1]["high"]], [*y, 0.0]
