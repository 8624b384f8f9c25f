"""The charts of a report, in their order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from analyze.report.charts.chart import Chart
from analyze.report.charts.pareto import layer_grid, pareto_chart
from analyze.report.charts.points import points
from analyze.report.palette import family_styles
from analyze.tables import Row


def charts(tables: Mapping[str, Sequence[Row]], families: Sequence[str]) -> Iterator[Chart]:
    """Yield the charts of a report's tables, except those without data.

    families: names of the report's families, in the order of the legends.
    """
    styles = family_styles(families)
    measured = points(tables)
    if measured.rows:
        yield pareto_chart(measured, styles)
        yield layer_grid(measured, styles)
