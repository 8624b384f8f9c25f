"""NSAE's activation function and the effect of noise on it: Fig. 5."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from analyze.measure.measurements import Measurements
from analyze.report.figures.base import ReportFigure
from analyze.report.figures.style import legend, panels
from analyze.report.palette import COLOURS

SPREADS = (0.5, 2.0)  # pre-activations for which x ± σ is shown


def activation_figures(measurements: Measurements) -> Iterator[ReportFigure]:
    """Yield Fig. 5, if an NSAE was trained with noise."""
    sigmas = [run.settings.run.sigma for run in measurements.runs if run.variant == "nsae"]
    if any(sigmas):
        curve = activation_curve()
        yield ReportFigure(
            "figure_05_activation", "Figure 5. NSAE's activation",
            "Noise of size σ changes a small feature a lot, and a feature near 1 hardly at all.",
            activation(curve, max(sigmas)), curve,
        )  # fmt: skip


@dataclass(frozen=True)
class ActivationRow:
    """A point of the activation function: c = tanh(ReLU(x))."""

    x: float
    c: float


def activation_curve() -> list[ActivationRow]:
    """Return the activation function from −2 to 5."""
    x = np.linspace(-2, 5, 141)
    return [ActivationRow(float(a), float(b)) for a, b in zip(x, np.tanh(np.maximum(x, 0)), strict=True)]


def activation(curve: Sequence[ActivationRow], sigma: float) -> Figure:
    """Draw the curve, and the ranges onto which it maps two pre-activations ± σ."""
    figure, (panel,) = panels([f"c = tanh(ReLU(x)), and x ± σ for σ = {sigma:g}"])
    panel.plot([p.x for p in curve], [p.c for p in curve], color="black", linewidth=1.5, label="tanh(ReLU(x))")
    for colour, middle in zip(COLOURS, SPREADS, strict=False):
        low, high = middle - sigma, middle + sigma
        to = np.tanh(np.maximum([low, high], 0))
        panel.axvspan(low, high, ymax=0.02, color=colour, alpha=0.8, linewidth=0)
        panel.axhspan(to[0], to[1], color=colour, alpha=0.2, linewidth=0,
                      label=f"x = {middle:g} ± {sigma:g}: c from {to[0]:.2f} to {to[1]:.2f}")  # fmt: skip
    panel.set_xlabel("pre-activation x")
    panel.set_ylabel("c")
    legend(figure, [panel], columns=1)
    return figure
