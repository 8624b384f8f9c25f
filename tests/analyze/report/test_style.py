"""Figures: the layout keeps titles, labels and the legend apart, and the bytes are the same each time."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from analyze.report.figures.style import as_png, legend, panels, value_axis


def figure_of_two_panels() -> Figure:
    figure, axes = panels(["first", "second"])
    for panel in axes:
        panel.plot([0, 1], [0, 1e6], label="a run with a long name")
        panel.set(xlabel="L0", ylabel="explained variance")
    legend(figure, axes)
    return figure


def test_png_has_panels_legend_and_labels_apart_and_inside_the_figure() -> None:
    figure = figure_of_two_panels()
    as_png(figure)
    first, second = (panel.get_tightbbox() for panel in figure.axes)
    above = figure.legends[0].get_window_extent()
    assert first is not None
    assert second is not None
    assert first.x1 <= second.x0
    assert max(first.y1, second.y1) <= above.y0
    assert min(first.x0, first.y0) >= 0
    assert second.x1 <= figure.bbox.x1


def test_png_of_a_figure_is_what_matplotlib_saves_in_256_colours() -> None:
    figure, drawn = figure_of_two_panels(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=150, metadata={"Software": None})
    png = as_png(figure_of_two_panels())
    pixels, all_colours = (
        np.asarray(Image.open(io.BytesIO(file)).convert("RGB"), dtype=float) for file in (png, drawn.getvalue())
    )
    assert pixels.shape == all_colours.shape
    assert np.abs(pixels - all_colours).mean() < 0.2
    assert len(png) < len(drawn.getvalue())
    assert png == as_png(figure_of_two_panels())


def test_vertical_axis_is_logarithmic_if_asked_for_or_if_a_value_would_squash_the_others() -> None:
    for values, log, scale in (
        ([1.0, 2.0, 3.0], False, "linear"),
        ([1.0, 2.0, 3.0], True, "log"),
        ([1.0, 2.0, 3.0, 90.0, np.nan], False, "log"),
        ([0.0, 2.0, 3.0, 90.0], True, "linear"),
        ([], False, "linear"),
    ):
        figure, (panel,) = panels(["panel"])
        panel.plot(values)
        value_axis(panel, values, log=log)
        assert panel.get_yscale() == scale
        as_png(figure)
