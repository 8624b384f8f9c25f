"""Write a report: HTML pages that open offline, and their data beside them.

OUT/index.html      what was compared, and which is better
OUT/post.html       the post's claims and figures
OUT/features.html   features to look at, and features/*.js with their details
OUT/metrics.json    every table, with the store and the scope
OUT/csv/*.csv       each table, and each figure's data
OUT/figures/*.png
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from analyze.compare.curves import PointRow
from analyze.compare.differences import MatchedRow
from analyze.compare.summary.at_l0 import RANDOM_DECODER
from analyze.features.choose import choose_features, representatives
from analyze.features.measure import FeatureSettings
from analyze.features.page.write import ShownSAE, write_features_page
from analyze.features.unembedding import Unembedding
from analyze.measure.cache import MeasurementCache
from analyze.measure.firing import FeatureActivity
from analyze.measure.measurements import Measurements, Scope, gather
from analyze.measure.patching.model import PatchableModel
from analyze.report.charts import charts as make_charts
from analyze.report.charts import png as chart_png
from analyze.report.charts.pareto import layer_grid
from analyze.report.charts.points import points as chart_points
from analyze.report.data import match_runs, metrics_json, report_summary, report_tables, write_csv
from analyze.report.figures.catalogue import draw
from analyze.report.figures.style import as_png
from analyze.report.pages.content import Content, FigureFile
from analyze.report.pages.front import render_front
from analyze.report.pages.post import render_post
from analyze.report.palette import family_styles
from analyze.runs.configurations import Configuration
from analyze.runs.progress import LeftOut, with_progress
from analyze.runs.trained_run import TrainedRun
from analyze.runs.training_curves import as_trained, mean_curves
from analyze.tables import as_json
from analyze.web.navigation import FEATURES, POST, REPORT, page_links
from data.command.progress import Bar
from data.system.location import write_file


def write_report(
    out: Path, scope: Scope, runs: Sequence[TrainedRun], model: PatchableModel | None = None, *,
    unembedding: Unembedding | None = None, features_each: int = 5, left_out: Sequence[LeftOut] = (),
    device: torch.device | str = "cpu", command: str = "", keep_measured: bool = False,
) -> Path:  # fmt: skip
    """Measure runs and write a report on them into the folder `out`; return the path of its index.html.

    model: the language model; None leaves out the measures that need it.
    unembedding: shows features with text and raised tokens; None shows token numbers.
    features_each: features per kind on the page of features; 0 writes no such page.
    left_out: runs that could not be measured.
    command: the command line that repeats the report, shown in it.
    keep_measured: keep the measurements of each SAE in OUT/measured, so the next report into it measures only new ones.

    An interrupted call leaves its measurements in OUT/measured; the same call continues from them.
    """
    cache = MeasurementCache(out / "measured")
    measurements = gather(scope, runs, model, left_out=left_out, device=device, cache=cache)
    if features_each:
        saes = [
            _shown(fires, scope, features_each) for fires in representatives(measurements.fires, measurements.families)
        ]
        write_features_page(
            out, scope.heldout, saes, unembedding, FeatureSettings(thresholds=scope.thresholds, seed=scope.seed),
            pages={link.href: link.title for link in page_links(FEATURES)}, device=device,
        )  # fmt: skip
    path = write_measurements(out, measurements, scope, command, features=features_each > 0)
    if not keep_measured:
        cache.clear()
    return path


def _shown(fires: FeatureActivity, scope: Scope, n_per_kind: int) -> ShownSAE:
    """Choose `n_per_kind` features of each kind of an SAE."""
    W_dec = fires.run.sae(fires.hook).W_dec.detach()
    chosen = choose_features(fires, W_dec, scope.thresholds, n_per_kind, seed=scope.seed)
    return ShownSAE(fires, sorted({number for features in chosen.values() for number in features}))


def write_measurements(
    out: Path, measurements: Measurements, scope: Scope, command: str = "", *, features: bool = False
) -> Path:
    """Write the report on measurements that were made; return the path of its index.html.

    features: whether its pages link to a page of features in the same folder.
    """
    matching = match_runs(measurements)
    summary = report_summary(measurements, matching, scope.heldout.unit)
    tables = report_tables(measurements, matching, scope.heldout.unit, summary)
    write_csv(out / "csv", vars(tables))
    curves = mean_curves(as_trained(measurements.training), measurements.configurations)
    controls = list(measurements.of_kind(RANDOM_DECODER))
    charts = {
        chart.name: chart
        for chart in make_charts(tables.points, tables.layer_means, list(measurements.families), curves, controls)
    }
    for chart in charts.values():
        write_file(out / "figures" / f"{chart.name}.png", chart_png(chart))
        write_csv(out / "csv", {chart.name: chart.rows})
    figures = []
    for section, drawn in Bar(draw(measurements), desc="drawing", unit="figure"):
        png = as_png(drawn.figure)
        write_file(out / "figures" / f"{drawn.name}.png", png)
        write_csv(out / "csv", {drawn.name: drawn.rows})
        figures.append(FigureFile(drawn.name, section, drawn.title, drawn.caption, png))
    write_file(out / "metrics.json", as_json(metrics_json(measurements, scope, tables, summary)).encode())
    content = Content(measurements, scope, summary, tables, charts, figures, command, features)
    write_file(out / POST, render_post(content).encode())
    write_file(out / REPORT, render_front(content).encode())
    return out / REPORT


def write_pareto(
    out: Path, points: Sequence[PointRow], matched: Sequence[MatchedRow], configured: Sequence[Configuration]
) -> None:
    """Write points.csv, with the progress of the configurations, matched.csv and a figure per measure into `out`."""
    write_csv(out, {"points": with_progress(points, configured), "matched": matched})
    styles = family_styles(list(dict.fromkeys(point.family for point in points)))
    chart = layer_grid(chart_points(points, ()), styles)
    for measure in dict.fromkeys(point.measure for point in points):
        write_file(out / f"{measure}.png", chart_png(chart, {"measure": measure}))
