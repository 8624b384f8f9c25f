"""The section "By layer": the curves against L0, and the differences at equal L0 in each layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analyze.compare.curves import HELD_OUT, PATCHED
from analyze.compare.differences import which_is_better_by_layer
from analyze.report import html
from analyze.report.pages.compared import enumerate_names
from analyze.report.pages.content import Content
from analyze.tables import Row, layer_list
from train.measures import MEASURES, Shown, title_of

DIFFERENCE_COLUMNS = {"pair": "difference", "l0": "at L0", "measure": "measure", "hook": "layer", "value": "value",
                      "detectable": "smallest detectable", "p_holm": "p, corrected for layers", "verdict": "verdict",
                      "note": "note"}  # fmt: skip
MATCHED_COLUMNS = {"pair": "difference", "hook": "layer", "l0": "at L0", "measure": "measure", "value": "value",
                   "detectable": "smallest detectable", "leave_one_out_error": "leave-one-out error",
                   "note": "note"}  # fmt: skip
BETTER_COLUMNS = {"pair": "compared", "measure": "measure", "higher": "higher in", "lower": "lower in",
                  "undecided": "undecided in", "not_compared": "not compared in"}  # fmt: skip
SAMPLES = {HELD_OUT: "On the held-out split", PATCHED: "On the patched positions"}


def section(content: Content) -> dict[str, Any]:
    """Return what templates/layers.html shows of the report."""
    matched = _titled_lines(content.table("matched"))
    return {
        "verdicts": [line["text"] for line in content.tables["verdicts"]],
        "differences": html.table(_titled_lines(content.table("differences")), DIFFERENCE_COLUMNS),
        "better": html.table(_better_lines(content.tables["matched"]), BETTER_COLUMNS),
        "best_values": best_values(),
        "matched": [
            (title, html.table(lines, MATCHED_COLUMNS))
            for sample, title in SAMPLES.items()
            if (lines := [line for line in matched if line["sample"] == sample])
        ],
        "charts": [content.charts[name] for name in ("layers", "depth") if name in content.charts],
    }


def _titled_lines(lines: Sequence[Row]) -> list[Row]:
    """Return the differences with titles; a reason for which no measure could be compared is one line."""
    shown: dict[tuple[Any, ...], Row] = {}
    for line in lines:
        measure = "any" if line["value"] is None else title_of(line["measure"])
        pair = f"{line['second']} − {line['first']}"
        key = (line.get("sample"), line["hook"], pair, line["l0"], measure, line["note"])
        shown.setdefault(key, {**line, "pair": pair, "measure": measure})
    return list(shown.values())


def _better_lines(matched: Sequence[Row]) -> list[Row]:
    """Return in how many layers, and in which, each measure is higher; one line per pair that overlaps in none."""

    def number_and_layers(hooks: Sequence[str]) -> str:
        return f"{len(hooks)}: {layer_list(hooks)}" if hooks else html.NO_VALUE

    lines: dict[tuple[str, str], Row] = {}
    for line in which_is_better_by_layer(matched):
        compared = line["higher"] or line["lower"] or line["undecided"]
        measure = title_of(line["measure"]) if compared else f"any {SAMPLES[line['sample']].lower()}"
        sides = {side: number_and_layers(line[side]) for side in ("higher", "lower", "undecided", "not_compared")}
        pair = f"{line['second']} against {line['first']}"
        lines[pair, measure] = {"pair": pair, "measure": measure, **sides}
    return list(lines.values())


def best_values() -> str:
    """Say which values of the measures compared at equal L0 are better, in one sentence."""
    by_direction = {
        direction: [m.title for m in MEASURES if Shown.AT_EQUAL_L0 in m.shown and m.better == direction]
        for direction in ("higher", "lower", "near 1", "near 0")
    }
    higher, lower, near_1, near_0 = map(enumerate_names, by_direction.values())
    return f"Higher is better for {higher}; lower for {lower}. The best value of {near_1} is 1; of {near_0}, 0."
