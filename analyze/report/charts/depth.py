"""Measures over the layers at each target L0, one line per architecture."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from analyze.report.charts.chart import Chart, Menu
from analyze.report.charts.pareto import INTERVALS, marks, parameters_of, value_axis_channel
from analyze.report.charts.points import MEAN, ChartPoint, Points, choose, data, title, value_axis
from analyze.report.charts.theme import HEIGHT, specification
from analyze.report.palette import FamilyStyle

TITLE = "Each measure over the layers"


def depth_chart(points: Points, styles: Mapping[str, FamilyStyle]) -> Chart | None:
    """Return the chart of a measure over the layers, with menus of the target L0, the measure and the noise.

    None without runs that have a target L0, or with a single layer.
    """
    rows = [row for row in points.rows if row.layer != MEAN and row.target is not None]
    if not rows or len(points.layers) < 2:
        return None
    shown = replace(points, rows=rows)
    targets = target_menu(row.target for row in rows)
    menus = [shown.measure_menu(), targets, *shown.noise_menus()]
    of_target = {name: [row for row in rows if f"{row.target:g}" == name] for name in targets.options}
    parameters = [
        *parameters_of(shown, menus),
        {"name": "axes", "value": {
            measure: {name: _axes(shown, lines, measure) for name, lines in of_target.items()}
            for measure in shown.measures
        }},
        {"name": "axis", "expr": "axes[measure][target][control]"},
    ]  # fmt: skip
    x = {
        "field": "layer", "type": "ordinal", "sort": list(points.layers), "scale": {"type": "point", "padding": 0.4},
        "axis": {"title": "layer", "labelAngle": 0, "labelOverlap": True, "grid": False},
    }  # fmt: skip
    spec = specification(TITLE, parameters, {
        "title": {"text": {"expr": "['at a target L0 of ' + target, axis.title]"}},
        "height": HEIGHT, "data": data(rows), "transform": [
            *choose("toString(datum.target) === target", *shown.control_conditions()),
            {"calculate": f"indexof({json.dumps(list(points.layers))}, datum.layer)", "as": "depth"},
        ],
        "encoding": {"x": x, "order": {"field": "depth", "type": "quantitative"}, "detail": {"field": "run"}},
        "layer": marks(value_axis_channel(), styles),
    })  # fmt: skip
    caption = f"One line per architecture, at the L0 that it was trained for. {INTERVALS}{shown.control_sentence()}"
    return Chart("depth", TITLE, caption, [spec], rows, menus, styles, shown.control_boxes(), shown.controls)


def target_menu(targets: Iterable[float | None]) -> Menu:
    """Return a menu of the target L0 that are not None, at first the middle one."""
    names = [f"{target:g}" for target in sorted({target for target in targets if target is not None})]
    return Menu("target", "target L0", {name: name for name in names}, names[(len(names) - 1) // 2])


def _axes(points: Points, rows: Sequence[ChartPoint], measure: str) -> dict[str, Any]:
    """Return the axis of one measure's rows, by whether the controls are shown."""
    shown = points.with_and_without_controls([row for row in rows if row.measure == measure])
    axes = {name: value_axis(lines) for name, lines in shown.items()}
    return {name: {"y": axis.to_json(), "title": title(measure, log=axis.log)} for name, axis in axes.items()}
