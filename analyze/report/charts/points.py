"""The rows of charts that show measures of configurations: made from the report's tables, and as a chart's data."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from analyze.compare.curves import PointRow
from analyze.compare.layer_means import LayerMeanRow
from analyze.report.charts.axis import Axis, fit_axis
from analyze.report.charts.chart import Checkbox, Menu, Spec
from analyze.tables import layers
from train.measures import FIRST_IN_MENUS, MEASURES, measure_of

MEAN = "mean"  # the layer of means over layers
DIGITS = 5
MOST_TARGETS = 6  # that have a tick each
BETTER = {"higher": "higher is better", "lower": "lower is better", "near 0": "best near 0", "near 1": "best near 1"}
NOISE = {"off": "off", "on": "on, as trained"}
CONTROL = "control"  # the parameter of the box that shows the controls


@dataclass(frozen=True)
class ChartPoint:
    """A measure of a configuration in a layer, or its mean over `layers` layers.

    layer: the layer's name, or MEAN.
    noise: "off" or "on"; "" of a configuration without noise.
    """

    family: str
    run: str
    layer: str
    layers: int
    noise: str
    seeds: int
    target: float | None
    l0: float
    measure: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Points:
    """Measures of configurations by layer.

    rows: one row per point and measure.
    layers: names of layers, in their order; without MEAN.
    controls: families that a chart shows only while its box is ticked, so that its axes fit the others.
    """

    rows: Sequence[ChartPoint]
    layers: Sequence[str]
    controls: Sequence[str] = ()

    @property
    def measures(self) -> list[str]:
        """The measures, those first that the menu lists first."""
        measured = {row.measure for row in self.rows}
        order = dict.fromkeys([*FIRST_IN_MENUS, *(measure.name for measure in MEASURES)])
        return [name for name in order if name in measured]

    @property
    def has_means(self) -> bool:
        """True if there are means over several layers."""
        return len(self.layers) > 1 and any(row.layer == MEAN for row in self.rows)

    @property
    def name_of_means(self) -> str:
        """Return "mean over 6 layers", without the number if it differs between measures."""
        numbers = {row.layers for row in self.rows if row.layer == MEAN}
        return f"mean over {numbers.pop()} layers" if len(numbers) == 1 else "mean over layers"

    def measure_menu(self) -> Menu:
        """Return the menu of measures."""
        options = {name: measure_of(name).title for name in self.measures}
        return Menu("measure", "measure", options, self.measures[0])

    def noise_menus(self) -> list[Menu]:
        """Return a menu of the noise setting, if a configuration was trained with noise."""
        return [Menu("noise", "noise", NOISE, "off")] if any(row.noise for row in self.rows) else []

    def control_boxes(self) -> list[Checkbox]:
        """Return the box that shows the controls, if there are any."""
        label = f"show {', '.join(self.controls)} (control with a random decoder)"
        return [Checkbox(CONTROL, label)] if self.controls else []

    def control_parameters(self) -> list[Spec]:
        """Return the parameter of the box, also without one."""
        return [{"name": CONTROL, "value": "off"}]

    def control_conditions(self) -> list[str]:
        """Return the conditions for `choose` that leave out the controls unless their box is ticked."""
        names = json.dumps(list(self.controls))
        return [f"({CONTROL} === 'on' || indexof({names}, datum.family) < 0)"] if self.controls else []

    def with_and_without_controls(self, rows: Sequence[ChartPoint]) -> dict[str, Sequence[ChartPoint]]:
        """Return the rows that a chart shows, by the value of the box's parameter."""
        without = [row for row in rows if row.family not in self.controls]
        return {"off": without, "on": rows} if self.controls else {"off": rows}

    def control_sentence(self) -> str:
        """Return the sentence of a caption that says how to see the controls; empty without any."""
        names = ", ".join(self.controls)
        return f" The box above shows the control {names} too, on axes that fit it." if self.controls else ""


def points(
    of_layers: Sequence[PointRow], means: Sequence[LayerMeanRow], controls: Collection[str] = ()
) -> Points:  # fmt: skip
    """Return the points of the tables `points` and `layer_means`. controls: families shown on demand if others are."""
    hooks = list(dict.fromkeys(row.hook for row in of_layers))
    layer_of = dict(zip(hooks, layers(hooks), strict=True))
    noisy = {row.run for row in of_layers if row.noise}
    places: list[tuple[str, int, PointRow | LayerMeanRow]] = [
        *((layer_of[row.hook], 1, row) for row in of_layers), *((MEAN, row.layers, row) for row in means)
    ]  # fmt: skip
    rows = [
        ChartPoint(
            row.family, row.run, layer, n_layers, ("on" if row.noise else "off") if row.run in noisy else "",
            row.seeds, row.target, row.l0, row.measure, row.value, row.low, row.high,
        )
        for layer, n_layers, row in places if math.isfinite(row.value)
    ]  # fmt: skip
    of_controls = [name for name in dict.fromkeys(row.family for row in rows) if name in controls]
    alone = all(row.family in controls for row in rows)
    return Points(rows, list(layer_of.values()), [] if alone else of_controls)


def data(rows: Sequence[ChartPoint]) -> Spec:
    """Return rows as a specification's data: one row per point, with [L0, value, low, high] of each measure in `v`."""
    names = ("family", "run", "layer", "noise", "seeds", "target")
    by_point: dict[tuple[Any, ...], Spec] = {}
    for row in rows:
        about = row.family, row.run, row.layer, row.noise, row.seeds, row.target
        point = by_point.setdefault(about, {**dict(zip(names, about, strict=True)), "v": {}})
        point["v"][row.measure] = [rounded(value) for value in (row.l0, row.value, row.low, row.high)]
    return {"values": list(by_point.values())}


def choose(*conditions: str) -> list[Spec]:
    """Return the transforms that read the chosen measure of `data` into l0, value, low, high and their texts.

    conditions: expressions that a point must fulfil, besides that it has the measure and the chosen noise.
    """
    chosen = ["isDefined(datum.v[measure])", "(datum.noise === '' || datum.noise === noise)", *conditions]
    interval = "isValid(datum.low) ? format(datum.low, '.3~g') + ' to ' + format(datum.high, '.3~g') : 'unknown'"
    return [
        {"filter": " && ".join(chosen)},
        *({"calculate": f"datum.v[measure][{i}]", "as": name} for i, name in enumerate(("l0", "value", "low", "high"))),
        {"calculate": interval, "as": "interval"},
    ]


TOOLTIP = [
    {"field": "family", "title": "architecture"},
    {"field": "run", "title": "run"},
    {"field": "layer", "title": "layer"},
    {"field": "l0", "title": "L0", "format": ".4~g"},
    {"field": "value", "title": "value", "format": ".4~g"},
    {"field": "interval", "title": "95 % interval"},
    {"field": "seeds", "title": "seeds"},
]


def axes(rows: Sequence[ChartPoint], measure: str) -> dict[str, Any]:
    """Return the axes of one measure's rows for a specification: x (L0), y, and the title of y."""
    of_measure = [row for row in rows if row.measure == measure]
    x, y = fit_axis((row.l0 for row in of_measure), log=True), value_axis(of_measure)
    targets = {row.target for row in of_measure}
    if None not in targets and 1 < len(targets) <= MOST_TARGETS:  # the values of L0 at which readers compare
        x = replace(x, ticks=tuple(sorted(target for target in targets if target and x.low <= target <= x.high)))
    return {"x": x.to_json(), "y": y.to_json(), "title": title(measure, log=y.log)}


def value_axis(rows: Sequence[ChartPoint]) -> Axis:
    """Return the axis of the rows' values, with their intervals."""
    return fit_axis((row.value for row in rows), (end for row in rows for end in (row.low, row.high)))


def title(measure: str, *, log: bool) -> str:
    """Return the title of a measure's axis: its name, unit, which values are better, and whether it is logarithmic."""
    known = measure_of(measure)
    text = ", ".join(filter(None, [known.axis_label, BETTER[known.better] if known.better else ""]))
    return f"{text} (log)" if log else text


def rounded(value: float | None) -> float | None:
    """Return a value with as many digits as a chart needs; None if it is not finite."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.{DIGITS}g}")
