"""Histograms of dictionaries: decoder norms (Fig. 12), cosines (13), cosines of pillars (14), firing density."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.figure import Figure

from analyze.measure.dictionary_summary import HistogramRow
from analyze.measure.firing import DENSITY_EDGES
from analyze.measure.measurements import Measurements
from analyze.report.figures.base import ReportFigure, has_variant
from analyze.report.figures.style import layer_colour, legend, log_axis, panels, unique
from analyze.tables import layers

NORM = "‖W_dec‖₂ of a feature"
POOLED = "One panel per configuration with the features of all its seeds, one line per layer."
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
    bins = [row for summary in measurements.dictionaries for row in summary.histograms]
    names = _configuration_names(measurements)
    norm_1 = " The baseline's features have norm 1 by construction." * has_variant(measurements, "baseline")
    for name, title, histogram, label, log in DICTIONARY_FIGURES:
        shown = [row for row in bins if row.quantity == histogram]
        if shown:
            yield ReportFigure(
                name, title, POOLED + norm_1,
                histograms(pooled(shown, names), label, log_x=log == "x", log_y=log == "y"), shown,
            )  # fmt: skip


@dataclass(frozen=True)
class Bin:
    """The count of features of a run, or a configuration, at a hook with a number from `low` to `high`."""

    run: str
    hook: str
    low: float
    high: float
    count: int


def density_figures(measurements: Measurements) -> Iterator[ReportFigure]:
    """Yield the histogram of how often features fire."""
    density = [
        Bin(sae.run.name, sae.hook, 10**low, 10**high, count)
        for sae in measurements.fires if not sae.noise
        for (low, high), count in zip(
            pairwise(DENSITY_EDGES.tolist()), sae.all.density_histogram().tolist(), strict=True
        ) if count
    ]  # fmt: skip
    if density:
        yield ReportFigure(
            "density", "How often features fire",
            f"Share of held-out rows in which a live feature fires, noise off. {POOLED}",
            histograms(pooled(density, _configuration_names(measurements)), "share of rows", log_x=True), density,
        )  # fmt: skip


def _configuration_names(measurements: Measurements) -> dict[str, str]:
    """Return the name of the configuration of each run."""
    return {run.name: configuration.name for configuration in measurements.configurations for run in configuration.runs}


def pooled(bins: Sequence[HistogramRow | Bin], names: Mapping[str, str]) -> list[Bin]:
    """Return the bins of configurations, with the counts of all their runs. names: of the runs' configurations."""
    counts: Counter[tuple[str, str, float, float]] = Counter()
    for b in bins:
        counts[names[b.run], b.hook, b.low, b.high] += b.count
    order = {place: i for i, place in enumerate(unique((names[b.run], b.hook) for b in bins))}
    return [Bin(*key, counts[key]) for key in sorted(counts, key=lambda key: (order[key[:2]], key[2]))]


def histograms(bins: Sequence[Bin], label: str, *, log_x: bool = False, log_y: bool = False) -> Figure:
    """Draw a panel per configuration and a line per layer. bins: those that are not empty."""
    runs, hooks = unique(b.run for b in bins), unique(b.hook for b in bins)
    names = layers(hooks)
    figure, axes = panels(runs, columns=4, share_y=False)
    for panel, run in zip(axes, runs, strict=True):
        for i, hook in enumerate(hooks):
            of_sae = [b for b in bins if (b.run, b.hook) == (run, hook)]
            if of_sae:
                x, y = _outline(of_sae)
                panel.plot(x, y, color=layer_colour(i, len(hooks)), linewidth=1, label=names[i])
        if log_x:
            log_axis(panel, "x")
        if log_y:
            log_axis(panel, "y")
    figure.supxlabel(label)
    figure.supylabel("share in the bin")
    legend(figure, axes, title="layer", columns=12)
    return figure


def _outline(bins: Sequence[Bin]) -> tuple[list[float], list[float]]:
    """Return x and y of the histogram's steps, at 0 where bins are missing."""
    total, x, y = sum(b.count for b in bins), list[float](), list[float]()
    for i, b in enumerate(bins):
        if i == 0 or bins[i - 1].high < b.low:
            x += [bins[i - 1].high, b.low] if i else [b.low]
            y += [0.0, 0.0] if i else [0.0]
        x += [b.low, b.high]
        y += [b.count / total] * 2
    return [*x, bins[-1].high], [*y, 0.0]
