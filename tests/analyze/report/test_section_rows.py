"""Which rows the sections of the report show: none twice, and none of dashes only."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from analyze.compare.equal_l0.sentence import verdict_row
from analyze.measure.firing import FeatureRow
from analyze.report.pages.layers import section as layers_section
from analyze.report.pages.measures import measured_rows
from analyze.statistics.estimates import MeasureRow
from tests.analyze.compare.equal_l0.made_up import compared, measured, two_families

HOOK = "blocks.0.hook_mlp_out"


@pytest.mark.parametrize(("skipped", "subsets"), [(0, {"all", "without 0"}), (1, {"all"})])
def test_measures_without_position_0_are_shown_only_if_the_store_has_that_position(
    skipped: int, subsets: set[str]
) -> None:
    content: Any = SimpleNamespace(
        scope=SimpleNamespace(store=SimpleNamespace(schema=SimpleNamespace(skip_positions=skipped))),
        tables=SimpleNamespace(
            measures=[
                MeasureRow("a/topk", "topk", HOOK, False, subset, "l0", 8.0, 7.9, 8.1, 15.0)
                for subset in ("all", "without 0", "0")
            ],
            features=[
                FeatureRow("a/topk", "topk", HOOK, False, subset, 100, 64, 0.0, 0.0, 10, [], [])
                for subset in ("all", "without 0", "0")
            ],
        ),
        with_layers=lambda rows: rows,
    )
    rows = measured_rows(content)
    assert {row.subset for row in rows} == subsets
    assert len(rows) == 2 * len(subsets)


def test_tables_of_differences_leave_out_what_is_not_compared_and_the_words_say_why() -> None:
    sides = two_families(3)
    comparison = compared(sides, measured(sides, {"baseline": [0.1] * 6, "nsae": [0.08] * 6}))
    without = compared(sides, measured(sides, {"baseline": [0.1] * 6, "nsae": [0.08] * 6}), l0=400.0)
    content: Any = SimpleNamespace(
        measurements=SimpleNamespace(hooks=comparison.hooks), charts={}, with_layers=lambda rows: rows,
        tables=SimpleNamespace(
            verdicts=[verdict_row(comparison), verdict_row(without)], matched=[],
            differences=[*comparison.rows(), *without.rows()],
        ),
    )  # fmt: skip
    shown = layers_section(content)
    assert len(shown["verdicts"].rows) == 1
    assert len(shown["differences"].rows) == 6
    assert any("are not compared: " in sentence for sentence in shown["sentences"])
