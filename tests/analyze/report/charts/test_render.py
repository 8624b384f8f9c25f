"""Specifications are valid Vega-Lite; PNG files of charts have a legend, and the same bytes each time."""

from __future__ import annotations

import altair
import pytest

from analyze.report.charts import Chart, charts, png
from analyze.report.charts.render import SCALE, WIDTH, on_paper
from tests.analyze.report.charts.made_up import tables, training

FAMILIES = ("nsae", "topk")


@pytest.fixture(scope="module")
def by_name() -> dict[str, Chart]:
    made = charts(*tables(2, FAMILIES), FAMILIES, training(2, FAMILIES, n=5))
    return {chart.name: chart for chart in made}


@pytest.mark.parametrize("name", ["pareto", "layers", "depth", "training"])
def test_specs_follow_the_schema_of_vega_lite(name: str, by_name: dict[str, Chart]) -> None:
    altair.Chart.from_dict(by_name[name].specs[0])


def test_png_is_the_same_each_time_and_has_the_charts_width(by_name: dict[str, Chart]) -> None:
    first = png(by_name["pareto"])
    assert first == png(by_name["pareto"])
    assert first.startswith(b"\x89PNG")
    width = int.from_bytes(first[16:20], "big")
    assert SCALE * WIDTH < width < SCALE * (WIDTH + 100)  # and the axis


def test_spec_on_paper_has_a_legend_all_panels_and_no_css_variable(by_name: dict[str, Chart]) -> None:
    spec = on_paper(by_name["layers"], {"measure": "gamma"})
    altair.Chart.from_dict(spec)
    assert len(spec["concat"]) == 2
    assert {parameter["name"]: parameter.get("value") for parameter in spec["params"]}["measure"] == "gamma"
    for name in ("pareto", "layers"):
        assert not on_paper(by_name[name], {})["config"]["legend"]["disable"]
        assert "var(" not in str(on_paper(by_name[name], {}))
