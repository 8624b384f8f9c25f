"""The charts of a report, in their order."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from analyze.compare.curves import PointRow
from analyze.compare.layer_means import LayerMeanRow
from analyze.report.charts.chart import Chart
from analyze.report.charts.depth import depth_chart
from analyze.report.charts.pareto import layer_grid, pareto_chart
from analyze.report.charts.points import points
from analyze.report.charts.training import training_chart, training_rows
from analyze.report.palette import family_styles
from analyze.runs.training_curves import TrainingCurve


def charts(
    of_layers: Sequence[PointRow], means: Sequence[LayerMeanRow], families: Sequence[str],
    training: Sequence[TrainingCurve] = (), controls: Collection[str] = (),
) -> Iterator[Chart]:  # fmt: skip
    """Yield the charts of a report, except those without data.

    of_layers, means: the tables `points` and `layer_means`.
    families: names of the report's families, in the order of the legends.
    training: curves of configurations, as trained.
    controls: families that curves over L0 and over layers leave out unless the reader asks for them.
    """
    styles = family_styles(families)
    measured = points(of_layers, means, controls)
    if not measured.rows:
        return
    yield pareto_chart(measured, styles)
    if len(measured.layers) > 1:
        yield layer_grid(measured, styles)
    further = depth_chart(measured, styles), training_chart(training_rows(training, of_layers), styles)
    yield from (chart for chart in further if chart is not None)
