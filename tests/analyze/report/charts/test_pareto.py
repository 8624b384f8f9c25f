"""Charts of measures against L0: the tables' numbers, on axes that panels share."""

from __future__ import annotations

import json
from typing import Any

import pytest

from analyze.compare.curves import PointRow, point_rows
from analyze.compare.layer_means import LayerMeanRow, layer_mean_rows
from analyze.report.charts import Chart, charts
from analyze.report.charts.points import ChartPoint
from analyze.runs.configurations import configurations, of_configurations
from analyze.statistics.estimates import Key
from analyze.statistics.layer_mean import mean_over_layers
from tests.analyze.compare.equal_l0.made_up import HOOKS, measured, two_families
from tests.analyze.report.charts.made_up import ARCHITECTURES, tables


@pytest.fixture(scope="module")
def by_name() -> dict[str, Chart]:
    return {chart.name: chart for chart in charts(*tables(), ARCHITECTURES)}


def parameters(spec: dict[str, Any]) -> dict[str, Any]:
    return {parameter["name"]: parameter.get("value") for parameter in spec["params"]}


def test_charts_of_the_same_tables_are_the_same_bytes_and_small() -> None:
    first, second = ([chart.to_json() for chart in charts(*tables(), ARCHITECTURES)] for _ in range(2))
    assert first == second
    assert sum(map(len, first)) < 2_000_000
    assert not any("<" in text for text in first)  # so no "</script>"


def test_points_have_the_values_and_intervals_of_the_tables(by_name: dict[str, Chart]) -> None:
    points, means = tables()
    (spec,) = by_name["pareto"].specs
    of_layer = {
        (point["run"], point["layer"], point["noise"] == "on"): point["v"] for point in spec["data"]["values"]
    }  # fmt: skip
    rows: list[tuple[str, PointRow | LayerMeanRow]] = [(row.hook.split(".")[1], row) for row in points]
    rows += [("mean", row) for row in means]
    assert len(rows) == sum(len(v) for v in of_layer.values())
    for layer, row in rows:
        shown = of_layer[row.run, layer, row.noise][row.measure]
        assert shown == pytest.approx([row.l0, row.value, row.low, row.high], rel=1e-4)


def test_chart_intervals_are_those_of_the_estimates() -> None:
    sides = two_families(3)
    runs = [run for side in sides for run in side.runs]
    alike = configurations(runs)
    true = {side.name: [0.1 + 0.05 * i + 0.01 * layer for layer in range(len(HOOKS))] for i, side in enumerate(sides)}
    off = measured(sides, true)
    estimates = of_configurations(off | {key._replace(noise=True): estimate for key, estimate in off.items()}, alike)
    made = point_rows(estimates, alike, "patched"), layer_mean_rows(estimates, alike, "patched")
    (spec,) = next(charts(*made, [side.name for side in sides])).specs
    shown = {
        (point["run"], point["layer"]): point["v"]["nats_lost"]
        for point in spec["data"]["values"] if point["noise"] != "on"
    }  # fmt: skip
    for configuration in alike:
        of_layers = [estimates[Key(configuration.name, hook, False, "all", "nats_lost")] for hook in HOOKS]
        for layer, estimate in enumerate(of_layers):
            expected = [40, estimate.value, *estimate.interval]
            assert shown[configuration.name, str(layer)] == pytest.approx(expected, rel=1e-4)
        mean = mean_over_layers(of_layers)
        assert shown[configuration.name, "mean"] == pytest.approx([40, mean.value, *mean.interval()], rel=1e-4)


def test_first_choice_is_the_mean_over_layers_with_noise_off_in_nats_lost_if_the_model_ran(
    by_name: dict[str, Chart],
) -> None:
    first = {menu.parameter: menu.selected for menu in by_name["pareto"].menus}
    assert first == {"measure": "nats_lost", "layer": "mean", "noise": "off"}
    without_model = next(charts(*tables(model=False), ARCHITECTURES))
    assert {menu.parameter: menu.selected for menu in without_model.menus}["measure"] == "explained_variance"


def test_noise_is_a_choice_only_if_an_architecture_has_noise() -> None:
    for chart in charts(*tables(2, ("baseline", "topk")), ("baseline", "topk")):
        assert "noise" not in {menu.parameter for menu in chart.menus}
        assert parameters(chart.specs[0])["noise"] == "off"


def test_grid_has_a_panel_per_layer_with_the_same_axes_and_each_number_once(by_name: dict[str, Chart]) -> None:
    grid = by_name["layers"]
    assert [spec["title"]["text"]["expr"] for spec in grid.specs] == [f'["layer {i}", axis.title]' for i in range(6)]
    assert all(parameters(spec) == parameters(grid.specs[0]) for spec in grid.specs)
    for spec in grid.specs:
        assert len({point["layer"] for point in spec["data"]["values"]}) == 1
    low, high = parameters(grid.specs[0])["axes"]["kl"]["off"]["y"]["domain"]
    values = [point["v"]["kl"][1] for spec in grid.specs for point in spec["data"]["values"]]
    assert low <= min(values)
    assert max(values) <= high


def test_axis_of_a_measure_with_an_outlier_is_logarithmic_in_every_panel() -> None:
    for worst, log in ((1.0, False), (200.0, True)):
        grid = next(chart for chart in charts(*tables(worst=worst), ARCHITECTURES) if chart.name == "layers")
        axis = parameters(grid.specs[0])["axes"]["kl"]["off"]
        assert (axis["y"]["constant"] < axis["y"]["domain"][1]) == log
        assert axis["title"] == "KL (nats per token), lower is better" + " (log)" * log


def test_control_is_left_out_with_axes_that_fit_the_others_until_its_box_is_ticked() -> None:
    made = tables(worst=200.0)
    without = charts(*tables(architectures=ARCHITECTURES[:-1]), ARCHITECTURES)
    with_control = list(charts(*made, ARCHITECTURES, controls=ARCHITECTURES[-1:]))
    for chart, alone in zip(with_control, without, strict=True):
        assert [box.parameter for box in chart.checkboxes] == ["control"]
        assert chart.on_demand == list(ARCHITECTURES[-1:])
        assert parameters(chart.specs[0])["control"] == "off"
        assert ARCHITECTURES[-1] in chart.caption
        axes, of_others = (parameters(shown.specs[0])["axes"]["kl"] for shown in (chart, alone))
        if chart.name != "layers":
            axes, of_others = (list(by_place.values())[-1] for by_place in (axes, of_others))
        assert axes["off"] == of_others["off"]
        assert axes["on"]["y"]["domain"][1] > 10 * axes["off"]["y"]["domain"][1]
    alone = next(charts(*tables(1, ("frozen",)), ("frozen",), controls=("frozen",)))
    assert (list(alone.checkboxes), list(alone.on_demand)) == ([], [])


def test_families_have_one_colour_and_shape_in_all_panels_in_the_reports_order(by_name: dict[str, Chart]) -> None:
    scales = [
        json.dumps({name: channel["scale"] for name, channel in layer["encoding"].items() if name == key})
        for key in ("color", "shape", "strokeDash")
        for chart in by_name.values() for spec in chart.specs for layer in spec["layer"] if key in layer["encoding"]
    ]  # fmt: skip
    assert len(set(scales)) == 3
    assert all(json.loads(text).popitem()[1]["domain"] == list(ARCHITECTURES) for text in scales)
    looks = [(style.colour, style.dash, style.point) for style in by_name["pareto"].legend.values()]
    assert len(set(looks)) == len({style.point for style in by_name["pareto"].legend.values()}) == len(ARCHITECTURES)


def test_store_of_one_layer_has_neither_a_mean_over_layers_nor_a_grid() -> None:
    (chart,) = charts(*tables(1, ("topk",)), ("topk",))
    assert {menu.parameter: list(menu.options) for menu in chart.menus}["layer"] == ["0"]
    assert {row.layer for row in chart.rows if isinstance(row, ChartPoint)} == {"0"}


def test_tables_without_points_have_no_charts() -> None:
    assert list(charts([], [], [])) == []
