"""The style of all charts: fonts, colours of text and grid, and how families and highlights are encoded.

On a page, text and grid have the colours of the page's CSS variables, so they follow its light or dark mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analyze.report.charts.chart import Spec
from analyze.report.palette import FamilyStyle

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
FONT_SIZE = 12
HEIGHT = 320  # pixels of a chart that stands alone
PANEL_HEIGHT = 180  # pixels of a panel in a grid
POINT_SIZE = 60  # square pixels

HIGHLIGHT: Spec = {"name": "highlight", "value": ""}
OPACITY: Spec = {"condition": {"test": "highlight === '' || highlight === datum.family", "value": 1}, "value": 0.12}


def config(*, font: str, ink: str, soft: str, line: str, legend: bool) -> Spec:
    """Return the configuration of a specification.

    ink, soft, line: CSS colours of titles, labels and the grid. legend: whether the chart draws its legend itself.
    """
    text = {"labelFont": font, "titleFont": font, "labelFontSize": FONT_SIZE, "titleFontSize": FONT_SIZE}
    return {
        "background": "transparent",
        "font": font,
        "view": {"stroke": None},
        "axis": {
            **text, "titleFontWeight": "normal", "labelColor": soft, "titleColor": ink, "gridColor": line,
            "domainColor": line, "tickColor": line, "labelFlush": False, "labelPadding": 4, "titlePadding": 6,
        },
        "title": {
            "font": font, "fontSize": FONT_SIZE, "color": ink, "fontWeight": "normal", "anchor": "start",
            "frame": "group", "lineHeight": 1.3 * FONT_SIZE, "offset": 8,
        },
        "legend": {
            **text, "labelColor": ink, "title": None, "orient": "bottom", "columns": 5, "symbolSize": 90,
            "symbolStrokeWidth": 2, "symbolOpacity": 1, "labelLimit": 400, "disable": not legend,
        },
    }  # fmt: skip


PAGE = config(font="system-ui, sans-serif", ink="var(--ink)", soft="var(--soft)", line="var(--line)", legend=False)


def specification(description: str, parameters: list[Spec], content: Spec) -> Spec:
    """Return a specification in the page's style, as wide as its container.

    description: read out by screen readers. parameters: the chart's parameters; the highlight is added.
    content: data, marks, encoding, title and height.
    """
    return {
        "$schema": SCHEMA, "description": description, "width": "container", "config": PAGE,
        "params": [HIGHLIGHT, *parameters], **content,
    }  # fmt: skip


def family_channels(styles: Mapping[str, FamilyStyle], *, lines: bool = False, points: bool = False) -> Spec:
    """Return the encoding of families by colour, of their lines by dashes and of their points by shape."""

    def channel(values: list[Any]) -> Spec:
        return {
            "field": "family", "type": "nominal", "title": None, "sort": None,
            "scale": {"domain": list(styles), "range": values},
        }  # fmt: skip

    channels = {"color": channel([style.colour for style in styles.values()])}
    if lines:
        channels["strokeDash"] = channel([list(style.dash) for style in styles.values()])
    if points:
        channels["shape"] = channel([style.point.path for style in styles.values()])
    return channels
