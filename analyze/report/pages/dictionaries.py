"""The section "Dictionaries": decoder directions, suppression taken apart, and what another seed changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analyze.measure import dictionary_summary
from analyze.report import html
from analyze.report.pages.content import Content
from analyze.report.pages.layers import SAMPLES
from analyze.report.pages.measures import MEASURE_COLUMNS, columns, measured_lines
from analyze.tables import Row
from train.measures import Shown, title_of

DICTIONARY_COLUMNS = {"run": "run", "hook": "layer", **dictionary_summary.TITLES}
STABILITY_COLUMNS = {"first": "first run", "second": "second run", "hook": "layer", "live_first": "live, first run",
                     "live_second": "live, second run", "matched": "matched pairs", "cosine_mean": "mean cosine",
                     "null_cosine_mean": "mean cosine, null", "excess": "excess",
                     "share_0.7": "share at cosine ≥ 0.7", "null_share_0.7": "null", "share_0.9": "share at ≥ 0.9",
                     "null_share_0.9": "null"}  # fmt: skip
SPREAD_COLUMNS = {"run": "run, over its seeds", "hook": "layer", "measure": "measure", "seeds": "seeds",
                  "value": "mean over seeds", "std": "standard deviation", "mean": "mean difference",
                  "largest": "largest difference", "detectable": "smallest detectable difference"}  # fmt: skip
DETECTABLE_COLUMNS = {"run": "run, over its seeds", "hook": "layer", "seeds": "seeds"}


def section(content: Content) -> dict[str, Any]:
    """Return what templates/dictionaries.html shows of the report."""
    measured, spread = measured_lines(content), content.table("seed_spread")
    return {
        "thresholds": content.scope.thresholds,
        "summary": html.table(content.table("dictionary"), DICTIONARY_COLUMNS),
        "suppression": html.wide(measured, MEASURE_COLUMNS, columns(measured, Shown.SUPPRESSION)),
        "stability": html.table(content.table("stability"), STABILITY_COLUMNS),
        "seed_spread": [
            (
                title,
                html.wide(_detectable(lines), DETECTABLE_COLUMNS, columns(lines, Shown.AT_EQUAL_L0)),
                html.table([{**line, "measure": title_of(line["measure"])} for line in lines], SPREAD_COLUMNS),
            )
            for sample, title in SAMPLES.items()
            if (lines := [line for line in spread if line["sample"] == sample])
        ],
        "figures": content.figures_of("dictionaries"),
    }


def _detectable(spreads: Sequence[Row]) -> list[Row]:
    """Return lines of the table `seed_spread` whose value is the smallest detectable difference."""
    return [{**line, "value": line["detectable"], "low": None, "high": None} for line in spreads]
