"""Charts over the layers and over training: a line per configuration, with the tables' numbers."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from analyze.report.charts import Chart, charts
from analyze.report.charts.training import MOST_POINTS
from tests.analyze.report.charts.made_up import ARCHITECTURES, TARGETS, tables, training


@pytest.fixture(scope="module")
def by_name() -> dict[str, Chart]:
    return {chart.name: chart for chart in charts(*tables(), ARCHITECTURES, training())}


def test_all_charts_of_nine_architectures_in_six_layers_are_below_two_megabytes(by_name: dict[str, Chart]) -> None:
    assert list(by_name) == ["pareto", "layers", "depth", "training"]
    assert sum(len(chart.to_json().encode()) for chart in by_name.values()) < 2_000_000


def test_depth_starts_at_the_middle_target_and_has_the_layers_in_their_order() -> None:
    many = next(chart for chart in charts(*tables(12, ("nsae", "topk")), ("nsae", "topk")) if chart.name == "depth")
    assert {menu.parameter: menu.selected for menu in many.menus}["target"] == "40"
    (spec,) = many.specs
    order = [str(layer) for layer in range(12)]
    assert spec["encoding"]["x"]["sort"] == order
    assert json.dumps(order) in spec["transform"][-1]["calculate"]  # the order in which a line joins its points


def test_runs_without_a_target_have_no_line_over_the_layers() -> None:
    points, means = tables(2, ("topk",))
    without = [replace(row, target=None) for row in points], [replace(row, target=None) for row in means]
    assert [chart.name for chart in charts(*without, ("topk",))] == ["pareto", "layers"]


def test_training_has_one_line_per_configuration_that_ends_with_its_last_value(by_name: dict[str, Chart]) -> None:
    (spec,) = by_name["training"].specs
    lines = {(line["run"], line["layer"], line["measure"]): line for line in spec["data"]["values"]}
    assert len(lines) == len(spec["data"]["values"]) == len(ARCHITECTURES) * len(TARGETS) * 6 * 3
    for curve in training():
        line = lines[curve.run, curve.hook.split(".")[1], curve.measure]
        assert len(line["rows"]) == len(line["value"]) == MOST_POINTS
        assert (line["rows"][0], line["rows"][-1]) == (curve.rows[0], curve.rows[-1])
        assert line["value"][-1] == pytest.approx(curve.values[-1], rel=1e-4)
