"""Measures against L0: the means over layers and single layers in one chart, and a grid with a panel per layer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from analyze.report.charts.chart import Chart, Menu, Spec
from analyze.report.charts.points import MEAN, TOOLTIP, ChartPoint, Points, axes, choose, data
from analyze.report.charts.theme import (
    HEIGHT,
    OPACITY,
    PANEL_HEIGHT,
    POINT_SIZE,
    family_channels,
    specification,
)
from analyze.report.palette import FamilyStyle
from train.measures import PATCHED, measure_of

INTERVALS = "Bars are 95 % intervals over documents, and over seeds if a run has several."
WITH_MODEL = (
    " Measures with the language model are taken on fewer rows, and so is the L0 beside them, which therefore differs "
    "from that of the table."
)


def pareto_chart(points: Points, styles: Mapping[str, FamilyStyle]) -> Chart:
    """Return the chart of a measure against L0, with menus of the layer, the measure and the noise."""
    shown_layers = [*([MEAN] if points.has_means else []), *points.layers]
    names = {layer: heading(layer) for layer in shown_layers} | (
        {MEAN: points.name_of_means} if points.has_means else {}
    )
    menus = [points.measure_menu(), Menu("layer", "layer", names, shown_layers[0]), *points.noise_menus()]
    rows = [row for row in points.rows if row.layer in shown_layers]
    of_layer = {layer: [row for row in rows if row.layer == layer] for layer in shown_layers}
    parameters = [
        *parameters_of(points, menus),
        {"name": "axes", "value": {
            measure: {layer: axes_of(points, lines, measure) for layer, lines in of_layer.items()}
            for measure in points.measures
        }},
        {"name": "names", "value": names},
        {"name": "axis", "expr": "axes[measure][layer][control]"},
    ]  # fmt: skip
    title = "How well each architecture reconstructs at each sparsity"
    spec = specification(title, parameters, {
        "title": {"text": {"expr": "[names[layer], axis.title]"}},
        "height": HEIGHT, "data": data(rows),
        "transform": choose("datum.layer === layer", *points.control_conditions()), **curves(styles),
    })  # fmt: skip
    caption = (
        f"One curve per architecture; the heading says which values are better. {INTERVALS}"
        f"{WITH_MODEL if set(points.measures) & set(PATCHED) else ''}{points.control_sentence()}"
    )
    return Chart("pareto", title, caption, [spec], rows, menus, styles, points.control_boxes(), points.controls)


def layer_grid(points: Points, styles: Mapping[str, FamilyStyle]) -> Chart:
    """Return a chart with a panel per layer, all with the same axes, and menus of the measure and the noise."""
    rows = [row for row in points.rows if row.layer != MEAN]
    menus = [points.measure_menu(), *points.noise_menus()]
    parameters = [
        *parameters_of(points, menus),
        {"name": "axes", "value": {measure: axes_of(points, rows, measure) for measure in points.measures}},
        {"name": "axis", "expr": "axes[measure][control]"},
    ]
    specs = [
        specification(f"Measures against L0 in {heading(layer)}", parameters, {
            "title": {"text": {"expr": f"[{json.dumps(heading(layer))}, axis.title]"}},
            "height": PANEL_HEIGHT, "data": data([row for row in rows if row.layer == layer]),
            "transform": choose(*points.control_conditions()), **curves(styles),
        })
        for layer in points.layers
    ]  # fmt: skip
    caption = f"One panel per layer, all with the same axes. {INTERVALS}{points.control_sentence()}"
    return Chart(
        "layers", "The same in each layer", caption, specs, rows, menus, styles, points.control_boxes(), points.controls
    )  # fmt: skip


def axes_of(points: Points, rows: Sequence[ChartPoint], measure: str) -> Spec:
    """Return the axes of one measure's rows, by whether the controls are shown."""
    return {shown: axes(lines, measure) for shown, lines in points.with_and_without_controls(rows).items()}


def heading(layer: str) -> str:
    """Return the heading of a layer's panel, from its number or the name of its hook."""
    return f"layer {layer}" if layer.isdecimal() else layer


def parameters_of(points: Points, menus: Sequence[Menu]) -> list[Spec]:
    """Return the parameters of menus and of the controls' box, with a noise setting also if there is no menu of it."""
    known = [*(menu.to_spec() for menu in menus), *points.control_parameters()]
    return known if any(menu.parameter == "noise" for menu in menus) else [*known, {"name": "noise", "value": "off"}]


def curves(styles: Mapping[str, FamilyStyle]) -> Spec:
    """Return the marks of curves over L0: intervals, lines with a text at each point, and points."""
    x = {
        "field": "l0", "type": "quantitative",
        "scale": {"type": "log", "domain": {"expr": "axis.x.domain"}, "nice": False},
        "axis": {"values": {"expr": "axis.x.ticks"}, "title": measure_of("l0").axis_label, "format": ".6~g",
                 "labelOverlap": True},
    }  # fmt: skip
    return {"encoding": {"x": x}, "layer": marks(value_axis_channel(), styles)}


def value_axis_channel() -> Spec:
    """Return the channel of `value`, on a linear or logarithmic scale as the parameter `axis` says."""
    scale = {
        "type": "symlog", "constant": {"expr": "axis.y.constant"}, "domain": {"expr": "axis.y.domain"}, "nice": False,
        "zero": False,
    }  # fmt: skip
    axis = {"values": {"expr": "axis.y.ticks"}, "title": None, "format": ".6~g"}
    return {"field": "value", "type": "quantitative", "scale": scale, "axis": axis}


def marks(y: Spec, styles: Mapping[str, FamilyStyle]) -> list[Spec]:
    """Return layers of marks: intervals from `low` to `high`, a line per family with a text at each point, and points.

    templates/nearest.js shows the texts.
    """
    return [
        {
            "mark": {"type": "rule", "clip": True, "strokeWidth": 1.2},
            "transform": [{"filter": "isValid(datum.low) && isValid(datum.high)"}],
            "encoding": {
                "y": {**y, "field": "low"}, "y2": {"field": "high"},
                "opacity": OPACITY, **family_channels(styles),
            },
        },
        {
            "mark": {"type": "line", "strokeWidth": 1.8, "clip": True},
            "encoding": {"y": y, "opacity": OPACITY, "tooltip": TOOLTIP, **family_channels(styles, lines=True)},
        },
        {
            "mark": {"type": "point", "filled": True, "size": POINT_SIZE},
            "encoding": {"y": y, "opacity": OPACITY, **family_channels(styles, points=True)},
        },
    ]  # fmt: skip
