"""Norms of the activations by layer: Figs. 3 and 4."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from matplotlib import pyplot
from matplotlib.figure import Figure

from analyze.measure.measurements import Measurements
from analyze.measure.norms import NormBinRow, NormRow, norm_bin_rows, norm_rows
from analyze.report.figures.base import ReportFigure
from analyze.report.figures.style import layer_axis, layer_colour, log_axis, unique
from analyze.report.palette import COLOURS, POINTS
from analyze.tables import layers
from data.store.stats import Subset


def norm_figures(measurements: Measurements) -> Iterator[ReportFigure]:
    """Yield Figs. 3 and 4."""
    histogram = norm_bin_rows(measurements.norms)
    yield ReportFigure(
        "figure_03_norms", "Figures 3 and 4. Norms of the activations by layer",
        "Left: the distribution of ‖x‖₂ over the training split, one line per layer. Right: its mean and the range "
        "from its 5 % to its 95 % quantile, with and without position 0 of each context.",
        norms(norm_rows(measurements.norms), histogram), histogram,
    )  # fmt: skip


def norms(rows: Sequence[NormRow], histogram: Sequence[NormBinRow]) -> Figure:
    """Draw the distribution of ‖x‖₂ per hook, and its mean over the layers with the range from 5 % to 95 %.

    rows, histogram: from norm_rows and norm_bin_rows, of one model.
    """
    hooks = unique(row.hook for row in rows)
    names = layers(hooks)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for i, hook in enumerate(hooks):
        bins = [b for b in histogram if b.hook == hook and b.subset == Subset.ALL and b.low > 0]
        total = sum(b.rows for b in bins)
        left.plot(
            [(b.low * b.high) ** 0.5 for b in bins], [b.rows / total for b in bins], drawstyle="steps-mid",
            color=layer_colour(i, len(hooks)), linewidth=1.2, label=names[i],
        )  # fmt: skip
    log_axis(left, "x")
    left.set_xlabel("‖x‖₂")
    left.set_ylabel("share of rows (bins of ⅛ octave)")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        title="layer",
        ncols=12 if max(map(len, names)) < 4 else 3,
        fontsize=8,
        frameon=False,
    )
    for i, subset in enumerate(unique(row.subset for row in rows)):
        in_subset = [row for row in rows if row.subset == subset]
        right.errorbar(
            [j + 0.12 * i for j in range(len(in_subset))], [row.mean for row in in_subset],
            yerr=[
                [max(row.mean - row.q05, 0) for row in in_subset], [max(row.q95 - row.mean, 0) for row in in_subset],
            ], color=COLOURS[i], marker=POINTS[i].marker, linestyle="-",
            capsize=2, linewidth=1.2, label="all positions" if subset == Subset.ALL else "without position 0",
        )  # fmt: skip
    layer_axis(right, hooks)
    log_axis(right, "y")
    right.set_ylabel("‖x‖₂: mean, 5 % to 95 %")
    right.legend(frameon=False)
    for panel in (left, right):
        panel.grid(alpha=0.25)
    figure.suptitle(rows[0].model)
    return figure
