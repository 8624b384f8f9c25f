"""The charts of a report, in their order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from analyze.report.charts.chart import Chart
from analyze.report.charts.depth import depth_chart
from analyze.report.charts.pareto import layer_grid, pareto_chart
from analyze.report.charts.points import points
from analyze.report.charts.training import training_chart, training_rows
from analyze.report.palette import family_styles
from analyze.runs.training_curves import TrainingCurve
from analyze.tables import Row


def charts(
    tables: Mapping[str, Sequence[Row]], families: Sequence[str], training: Sequence[TrainingCurve] = ()
) -> Iterator[Chart]:
    """Yield the charts of a report's tables, except those without data.

    families: names of the report's families, in the order of the legends.
    training: curves of configurations, as trained.
    """
    styles = family_styles(families)
    measured = points(tables)
    if not measured.rows:
        return
    yield pareto_chart(measured, styles)
    if len(measured.layers) > 1:
        yield layer_grid(measured, styles)
    further = depth_chart(measured, styles), training_chart(training_rows(training, tables["points"]), styles)
    yield from (chart for chart in further if chart is not None)
