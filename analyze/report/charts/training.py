"""Measures over training, one line per configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analyze.compare.curves import PointRow
from analyze.report.charts.axis import fit_axis
from analyze.report.charts.chart import Chart, Menu, Spec
from analyze.report.charts.depth import target_menu
from analyze.report.charts.pareto import heading, value_axis_channel
from analyze.report.charts.points import rounded, title
from analyze.report.charts.theme import HEIGHT, OPACITY, family_channels, specification
from analyze.report.palette import FamilyStyle
from analyze.runs.training_curves import TrainingCurve
from analyze.tables import layers
from train.measures import OVER_TRAINING, measure_of

TITLE = "How training went"
MOST_POINTS = 40  # of a line
EVERY_TARGET = "all"


@dataclass(frozen=True)
class TrainingPoint:
    """A measure of a configuration in a layer after `rows` rows of training."""

    family: str
    run: str
    layer: str
    target: float | None
    measure: str
    rows: int
    value: float


def training_rows(curves: Sequence[TrainingCurve], points: Sequence[PointRow]) -> list[TrainingPoint]:
    """Return one row per point of the curves of configurations, thinned to MOST_POINTS.

    curves: of configurations, as trained (`as_trained`, `mean_curves`). points: tell a configuration's family and
    target.
    """
    known = {point.run: point for point in points}
    hooks = list(dict.fromkeys(curve.hook for curve in curves))
    layer_of = dict(zip(hooks, layers(hooks), strict=True))
    return [
        TrainingPoint(
            known[curve.run].family, curve.run, layer_of[curve.hook], known[curve.run].target, curve.measure,
            curve.rows[i], curve.values[i],
        )
        for measure in OVER_TRAINING for curve in curves if curve.measure == measure and curve.run in known
        for i in thinned(len(curve.rows))
    ]  # fmt: skip


def thinned(n: int) -> list[int]:
    """Return at most MOST_POINTS indices of n points, evenly spaced, with the first and the last."""
    if n <= MOST_POINTS:
        return list(range(n))
    return [round(i * (n - 1) / (MOST_POINTS - 1)) for i in range(MOST_POINTS)]


def training_chart(rows: Sequence[TrainingPoint], styles: Mapping[str, FamilyStyle]) -> Chart | None:
    """Return the chart of a measure over training, with menus of the measure, the layer and the target L0.

    rows: from `training_rows`. None without rows.
    """
    if not rows:
        return None
    measures, shown_layers = list(dict.fromkeys(r.measure for r in rows)), list(dict.fromkeys(r.layer for r in rows))
    menus = [
        Menu("measure", "measure", {name: measure_of(name).title for name in measures}, measures[0]),
        Menu("layer", "layer", {layer: heading(layer) for layer in shown_layers}, shown_layers[len(shown_layers) // 2]),
    ]
    targets = [row.target for row in rows if row.target is not None]
    every = {EVERY_TARGET: EVERY_TARGET}
    if targets:
        of_targets = target_menu(targets)
        menus.append(Menu("target", of_targets.label, {**of_targets.options, **every}, of_targets.selected))
    axes = {
        measure: {layer: _axis(rows, measure, layer) for layer in shown_layers} for measure in measures
    }  # fmt: skip
    parameters: list[Spec] = [
        *(menu.to_spec() for menu in menus),
        *([] if targets else [{"name": "target", "value": EVERY_TARGET}]),
        {"name": "axes", "value": axes},
        {"name": "axis", "expr": "axes[measure][layer]"},
    ]
    x = {
        "field": "rows", "type": "quantitative", "scale": {"nice": False},
        "axis": {"title": "activations seen", "format": "~s", "tickCount": 5},
    }  # fmt: skip
    lines = {"x": x, "y": value_axis_channel(), "detail": {"field": "run"}}
    spec = specification(TITLE, parameters, {
        "title": {"text": {"expr": "['layer ' + layer, axis.title]"}},
        "height": HEIGHT, "data": _data(rows),
        "transform": [
            {"filter": "datum.measure === measure && datum.layer === layer"},
            {"filter": f"target === '{EVERY_TARGET}' || datum.target === null || toString(datum.target) === target"},
            {"flatten": ["rows", "value"]},
        ],
        "encoding": {**lines, "opacity": OPACITY},
        "layer": [
            {"mark": {"type": "line", "strokeWidth": 1.5, "clip": True},
             "encoding": {"tooltip": TOOLTIP, **family_channels(styles, lines=True)}},
        ],
    })  # fmt: skip
    caption = (
        "One line per configuration, the mean over its seeds. An architecture with noise is shown with its noise. "
        "Losses of different architectures have different terms, so their heights cannot be compared."
    )
    return Chart("training", TITLE, caption, [spec], rows, menus, styles)


TOOLTIP = [
    {"field": "run", "title": "run"},
    {"field": "rows", "title": "activations seen", "format": ","},
    {"field": "value", "title": "value", "format": ".4~g"},
]


def _axis(rows: Sequence[TrainingPoint], measure: str, layer: str) -> dict[str, Any]:
    values = [row.value for row in rows if (row.measure, row.layer) == (measure, layer)]
    axis = fit_axis(values, log=measure_of(measure).log_axis or None)
    return {"y": axis.to_json(), "title": title(measure, log=axis.log)}


def _data(rows: Sequence[TrainingPoint]) -> Spec:
    """Return one row per curve, with its points as lists in `rows` and `value`."""
    curves: dict[tuple[str, str, str], Spec] = {}
    for row in rows:
        new = {**vars(row), "rows": [], "value": []}
        curve = curves.setdefault((row.run, row.layer, row.measure), new)
        curve["rows"].append(row.rows)
        curve["value"].append(rounded(row.value))
    return {"values": list(curves.values())}
