"""A chart of the report: Vega-Lite specifications with the menus and the legend that the page draws for them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from analyze.report.palette import FamilyStyle
from analyze.tables import TableRow

Spec = dict[str, Any]


@dataclass(frozen=True)
class Menu:
    """A choice of what a chart shows.

    parameter: the parameter of each of its specifications that the choice sets.
    options: label by value, in the menu's order.
    selected: the value chosen at first.
    """

    parameter: str
    label: str
    options: Mapping[str, str]
    selected: str

    def to_spec(self) -> Spec:
        """Return the parameter for a specification."""
        return {"name": self.parameter, "value": self.selected}


@dataclass(frozen=True)
class Checkbox:
    """A choice whether a chart shows something, at first not.

    parameter: the parameter of each of its specifications: "on" while the box is ticked, else "off".
    """

    parameter: str
    label: str

    def to_spec(self) -> Spec:
        """Return the parameter for a specification."""
        return {"name": self.parameter, "value": "off"}


@dataclass(frozen=True)
class Chart:
    """An interactive chart.

    name: that of its PNG and CSV files.
    specs: Vega-Lite specifications; several are a grid of panels with the same axes.
    rows: its data, one row per point.
    menus: what the reader can choose; a choice holds for all panels.
    legend: style by family. A click on a family's entry sets the parameter `highlight` of all panels to its name.
    checkboxes: what the reader can also choose.
    on_demand: families that are shown, and have an entry in the legend, only while a box is ticked.
    """

    name: str
    title: str
    caption: str
    specs: Sequence[Spec]
    rows: Sequence[TableRow]
    menus: Sequence[Menu] = ()
    legend: Mapping[str, FamilyStyle] = field(default_factory=dict)
    checkboxes: Sequence[Checkbox] = ()
    on_demand: Sequence[str] = ()

    def to_json(self) -> str:
        """Return the chart for templates/charts.js, as JSON that can stand in an HTML script element."""
        content = {
            "specs": self.specs,
            "menus": [{**asdict(menu), "options": list(menu.options.items())} for menu in self.menus],
            "checkboxes": [asdict(box) for box in self.checkboxes],
            "legend": [
                {
                    "name": name, "colour": style.colour, "dash": style.dash, "path": style.point.path,
                    "on_demand": name in self.on_demand,
                }
                for name, style in self.legend.items()
            ],
        }  # fmt: skip
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.replace("<", "\\u003c")
