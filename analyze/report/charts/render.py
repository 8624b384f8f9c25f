"""Charts outside Python: the JavaScript that draws them in a page, and PNG files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import vl_convert

from analyze.report.charts.chart import Chart, Spec
from analyze.report.charts.theme import config

VEGA_LITE = "6.4"
WIDTH, PANEL_WIDTH, COLUMNS = 760, 240, 3  # pixels of a chart alone and of a panel, panels in a row
SCALE = 2  # pixels of the PNG per pixel of the chart
PAPER = config(font="DejaVu Sans", ink="#1a1a1a", soft="#5a5a5a", line="#d8d8d8", legend=True)


def javascript_bundle() -> str:
    """Return the script that defines `vegaEmbed`, with everything that it needs. It takes some seconds to make."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)


def png(chart: Chart, choices: Mapping[str, str] | None = None) -> bytes:
    """Return the chart as PNG, on white, with a legend.

    choices: values of the menus' parameters; those of the others are the menus' first choices.

    The font is one that comes with Matplotlib, so the bytes do not depend on the machine's fonts.
    """
    vl_convert.register_font_directory(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf"))
    spec = on_paper(chart, choices or {})
    return vl_convert.vegalite_to_png(json.dumps(spec), vl_version=VEGA_LITE, scale=SCALE)


def on_paper(chart: Chart, choices: Mapping[str, str]) -> Spec:
    """Return one specification for print, with a fixed width and the chart's panels in rows."""
    specs = [_with_legend(spec, chart) for spec in chart.specs]
    first = specs[0]
    parameters = [
        {**parameter, "value": choices[parameter["name"]]} if parameter["name"] in choices else parameter
        for parameter in first["params"]
    ]
    shared = {"$schema": first["$schema"], "background": "white", "params": parameters, "config": PAPER}
    if len(specs) == 1:
        return {**first, **shared, "width": WIDTH}
    panels = [{**_content(spec), "width": PANEL_WIDTH} for spec in specs]
    one_legend = {"scale": dict.fromkeys(("color", "shape", "strokeDash"), "shared")}
    return {**shared, "concat": panels, "columns": COLUMNS, "resolve": one_legend}


def _with_legend(spec: Spec, chart: Chart) -> Spec:
    """Return a specification whose legend has the families that the chart shows at first."""
    names = [name for name in chart.legend if name not in chart.on_demand]

    def with_names(encoding: Spec) -> Spec:
        of_family = [name for name in ("color", "shape", "strokeDash") if name in encoding]
        return encoding | {name: {**encoding[name], "legend": {"values": names}} for name in of_family}

    layers = [{**layer, "encoding": with_names(layer["encoding"])} for layer in spec["layer"]]
    return {**spec, "layer": layers} if chart.on_demand else spec


def _content(spec: Spec) -> dict[str, Any]:
    """Return what differs between the panels of a chart: everything but the parameters, which are the same."""
    return {key: value for key, value in spec.items() if key not in ("$schema", "params", "config")}
