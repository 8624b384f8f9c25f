"""Style of all figures: panels, axes, legends, how families and layers are drawn, saving.

A family has its colour, point and dashes from analyze/report/palette.py, and its runs have shades of the colour, darker
for a larger α. Noise on is dotted and hollow. Layers go from dark to light.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib

matplotlib.use("Agg")  # no display is needed

from matplotlib import colors, pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter
from PIL import Image

from analyze.report.charts.axis import is_logarithmic
from analyze.report.palette import family_style
from analyze.tables import layers

DPI = 150
MANY, MANY_COLUMNS = 12, 6  # panels of a figure, and of its rows if it has more
LEGEND_LINES, LEGEND_LINE = 2, 0.17  # lines that a figure has room for, and the height of one more, in inches
WIDE = 300  # a logarithmic axis that spans more than this factor is labelled at powers of 10 only


@dataclass(frozen=True)
class Style:
    """The colour and dashes of a run. dash: lengths of dash and gap, in units of the line's width."""

    colour: Any
    marker: str
    dash: tuple[int, int] = (1, 0)

    def line(self, *, hollow: bool = False) -> dict[str, Any]:
        """Return the arguments for `plot` and `errorbar`."""
        dashes = ":" if hollow else (0, self.dash) if self.dash[1] else "-"
        return {
            "color": self.colour, "marker": self.marker, "markersize": 4, "linewidth": 1.2,
            "linestyle": dashes, "markerfacecolor": "white" if hollow else self.colour,
        }  # fmt: skip


def run_styles(families: Mapping[str, Sequence[str]]) -> dict[str, Style]:
    """Return the style of each run. families: the runs of each family, by growing α."""
    styles = {}
    for i, members in enumerate(families.values()):
        style = family_style(i)
        base = colors.to_rgb(style.colour)
        for j, run in enumerate(members):
            light = 0.6 * (len(members) - 1 - j) / max(len(members) - 1, 1)
            shade = tuple(1 - (1 - part) * (1 - light) for part in base)
            styles[run] = Style(shade, style.point.marker, style.dash)
    return styles


def layer_colour(i: int, n: int) -> Any:
    """Return the colour of layer i of n."""
    return pyplot.get_cmap("viridis")(0.95 * i / max(n - 1, 1))


def unique(values: Iterable[Any]) -> list[Any]:
    """Return the distinct values, in the order of their first occurrence."""
    return list(dict.fromkeys(values))


def panels(titles: Sequence[str], *, columns: int = 3, share_y: bool = False) -> tuple[Figure, list[Axes]]:
    """Make a figure with a panel per title; more than MANY are smaller, MANY_COLUMNS in a row."""
    many = len(titles) > MANY
    columns = min(len(titles), MANY_COLUMNS if many else columns)
    width, height = (2.4, 1.9) if many else (3.6, 2.8)
    rows = math.ceil(len(titles) / columns)
    figure, axes = pyplot.subplots(
        rows, columns, squeeze=False, sharey=share_y, layout="constrained",
        figsize=(max(width * columns, 5), height * rows + 0.8),
    )  # fmt: skip
    for panel, title in zip(axes.flat, titles, strict=False):
        panel.set_title(title, fontsize=8 if many else 9)
        if many:
            panel.tick_params(labelsize=7)
        panel.grid(alpha=0.25)
    for panel in axes.flat[len(titles) :]:
        panel.set_visible(False)
    return figure, list(axes.flat[: len(titles)])


def legend(figure: Figure, axes: Sequence[Axes], *, title: str | None = None, columns: int = 3) -> None:
    """Put one legend above all panels, where it covers no data; long labels get fewer columns.

    A legend of many lines makes the figure higher, so that its panels keep their size.
    """
    handles: dict[str, Any] = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        inches = 0.5 + 0.07 * max(map(len, handles))
        columns = max(1, min(columns, int(figure.get_figwidth() / inches)))
        more_lines = max(0, math.ceil(len(handles) / columns) - LEGEND_LINES)
        figure.set_figheight(figure.get_figheight() + LEGEND_LINE * more_lines)
        figure.legend(
            list(handles.values()), list(handles), loc="outside upper center", title=title,
            ncols=min(len(handles), columns), frameon=False, fontsize=8,
        )  # fmt: skip


def log_axis(panel: Axes, which: Literal["x", "y"]) -> None:
    """Make an axis logarithmic, labelled at 1, 2 and 5 if it spans little, else at powers of 10.

    Call it after drawing the data, whose range decides.
    """
    panel.set(**{f"{which}scale": "log"})
    axis = panel.xaxis if which == "x" else panel.yaxis
    low, high = axis.get_view_interval()
    if high / low < WIDE:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def value_axis(panel: Axes, values: Sequence[float], *, log: bool = False) -> None:
    """Make the vertical axis logarithmic if `log` is set, or if large values would squash the others on a linear one.

    It stays linear if a value is not positive. values: those that are drawn, NaN among them or none.
    """
    known = [value for value in values if math.isfinite(value)]
    if known and is_logarithmic(known, log or None):
        log_axis(panel, "y")


def layer_axis(panel: Axes, hooks: Sequence[str]) -> None:
    """Give a panel a horizontal axis with one tick per layer."""
    panel.set_xticks(range(len(hooks)), layers(hooks), fontsize=8 if len(hooks) < 20 else 6)
    panel.set_xlabel("layer")


def rows_axis(panel: Axes) -> None:
    """Give a panel a horizontal axis of activations seen."""
    panel.xaxis.set_major_formatter(EngFormatter(sep=""))
    panel.set_xlabel("activations seen", fontsize=8)


def as_png(figure: Figure) -> bytes:
    """Return the figure as PNG of 256 colours, without a date or version in it, and close it.

    With all colours the file would be two to five times as large.
    """
    figure.set_dpi(DPI)
    layout = figure.get_layout_engine()
    if layout is not None:  # savefig would draw the figure twice, only to lay it out first
        layout.execute(figure)
        figure.set_layout_engine(None)
    drawn, file = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI, metadata={"Software": None})
    pyplot.close(figure)
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, format="png")
    return file.getvalue()
