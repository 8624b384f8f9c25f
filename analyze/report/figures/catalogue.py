"""The figures of a report by the section that shows them, in their order there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from analyze.measure.measurements import Measurements
from analyze.report.figures.activation import activation_figures
from analyze.report.figures.base import ReportFigure
from analyze.report.figures.dictionary import density_figures, dictionary_figures
from analyze.report.figures.layers import layer_figures
from analyze.report.figures.norms import norm_figures
from analyze.report.figures.targets import target_figures
from analyze.report.figures.training import snapshot_figures, training_figures

Section = Literal["dictionaries", "training", "post"]

# The post's figures are on a page of their own: measurements first, then what illustrates its method.
FIGURES: dict[Section, tuple[Callable[[Measurements], Iterator[ReportFigure]], ...]] = {
    "dictionaries": (density_figures,),
    "training": (target_figures,),
    "post": (training_figures, layer_figures, snapshot_figures, dictionary_figures, norm_figures, activation_figures),
}


def draw(measurements: Measurements) -> Iterator[tuple[Section, ReportFigure]]:
    """Draw the figures one after the other, except those without data; the caller saves and closes each."""
    for section, makers in FIGURES.items():
        for figures in makers:
            for figure in figures(measurements):
                yield section, figure
