"""The figures of a report, in their order: those of the post under their numbers, then the Pareto curves."""

from __future__ import annotations

from collections.abc import Iterator

from analyze.measure.measurements import Measurements
from analyze.report.figures.activation import activation_figures
from analyze.report.figures.base import ReportFigure
from analyze.report.figures.dictionary import density_figures, dictionary_figures
from analyze.report.figures.layers import layer_figures
from analyze.report.figures.norms import norm_figures
from analyze.report.figures.pareto import pareto_figures
from analyze.report.figures.targets import target_figures
from analyze.report.figures.training import snapshot_figures, training_figures

FIGURES = (
    norm_figures, activation_figures, training_figures, target_figures, layer_figures, snapshot_figures,
    dictionary_figures, density_figures, pareto_figures,
)  # fmt: skip


def draw(measurements: Measurements) -> Iterator[ReportFigure]:
    """Draw the figures one after the other, except those without data; the caller saves and closes each."""
    for figures in FIGURES:
        yield from figures(measurements)
