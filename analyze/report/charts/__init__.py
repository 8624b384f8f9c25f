"""Interactive charts of the report, as Vega-Lite specifications: one kind per file, made from the report's tables.

To add a chart, write a function that returns a `Chart` (chart.py) in a file here, and call it in catalogue.py. theme.py
has the style that all charts share, axis.py their axes. templates/charts.js draws them in the page, with their menus
and legend; templates/charts.css is its style.
"""

from analyze.report.charts.catalogue import charts
from analyze.report.charts.chart import Chart, Menu
from analyze.report.charts.render import javascript_bundle, png

__all__ = ["Chart", "Menu", "charts", "javascript_bundle", "png"]
