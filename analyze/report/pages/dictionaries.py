"""The section "Dictionaries": decoder directions, suppression taken apart, and what another seed changes."""

from __future__ import annotations

from typing import Any

from analyze.compare.seed_spread import SpreadRow
from analyze.measure.dictionary_summary import SHOWN, DictionaryRow
from analyze.measure.stability import StabilityRow
from analyze.report import html
from analyze.report.html import Columns
from analyze.report.pages.content import Content
from analyze.report.pages.layers import SAMPLES
from analyze.report.pages.measures import MEASURE_COLUMNS, columns, measured_rows
from train.measures import Shown, title_of

DICTIONARY_COLUMNS: Columns[DictionaryRow] = (("run", lambda r: r.run), ("layer", lambda r: r.hook), *SHOWN)
STABILITY_COLUMNS: Columns[StabilityRow] = (
    ("first run", lambda r: r.first), ("second run", lambda r: r.second), ("layer", lambda r: r.hook),
    ("live, first run", lambda r: r.live_first), ("live, second run", lambda r: r.live_second),
    ("matched pairs", lambda r: r.matched), ("mean cosine", lambda r: r.cosine_mean),
    ("mean cosine, null", lambda r: r.null_cosine_mean), ("excess", lambda r: r.excess),
    ("share at cosine ≥ 0.7", lambda r: r.share_07), ("null", lambda r: r.null_share_07),
    ("share at ≥ 0.9", lambda r: r.share_09), ("null", lambda r: r.null_share_09),
)  # fmt: skip
SPREAD_COLUMNS: Columns[SpreadRow] = (
    ("run, over its seeds", lambda r: r.run), ("layer", lambda r: r.hook), ("measure", lambda r: title_of(r.measure)),
    ("seeds", lambda r: r.seeds), ("mean over seeds", lambda r: r.value), ("standard deviation", lambda r: r.std),
    ("mean difference", lambda r: r.mean), ("largest difference", lambda r: r.largest),
    ("smallest detectable difference", lambda r: r.detectable),
)  # fmt: skip
DETECTABLE_COLUMNS: Columns[SpreadRow] = (
    ("run, over its seeds", lambda r: r.run), ("layer", lambda r: r.hook), ("seeds", lambda r: r.seeds),
)  # fmt: skip


def section(content: Content) -> dict[str, Any]:
    """Return what templates/dictionaries.html shows of the report."""
    measured, spread = measured_rows(content), content.with_layers(content.tables.seed_spread)
    return {
        "thresholds": content.scope.thresholds,
        "summary": html.table(content.with_layers(content.tables.dictionary), DICTIONARY_COLUMNS),
        "suppression": html.wide(measured, MEASURE_COLUMNS, columns(measured, Shown.SUPPRESSION), html.interval),
        "stability": html.table(content.with_layers(content.tables.stability), STABILITY_COLUMNS),
        "seed_spread": [
            (
                title,
                html.wide(
                    rows, DETECTABLE_COLUMNS, columns(rows, Shown.AT_EQUAL_L0), lambda r: r.detectable, better={}
                ),
                html.table(rows, SPREAD_COLUMNS),
            )
            for sample, title in SAMPLES.items()
            if (rows := [row for row in spread if row.sample == sample])
        ],
        "figures": content.figures_of("dictionaries"),
    }
