"""The panel "Compare two": the differences between two architectures at one L0, from the table of verdicts.

At first it has the L0 at which most architectures are compared. templates/compare.js fills it for other architectures
and L0. Without scripts it shows those that it has at first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from analyze.compare.equal_l0.sentence import VerdictRow
from analyze.compare.summary.main_l0 import main_l0
from analyze.report import html
from analyze.report.html import Columns, HtmlCell
from analyze.report.pages.content import Content
from analyze.tables import layers
from train.measures import measure_of, title_of

BETTER = {"higher": "higher is better", "lower": "lower is better", "near 0": "best near 0", "near 1": "best near 1"}


def verdict_columns(content: Content) -> Columns[VerdictRow]:
    """Return the columns of the table of verdicts, which compare.js reads by their place."""
    names = dict(zip(content.measurements.hooks, layers(content.measurements.hooks), strict=True))

    def of_layers(hooks: Sequence[str], row: VerdictRow) -> str:
        n_compared = len(row.higher) + len(row.lower) + len(row.undecided)
        if len(hooks) == n_compared > 1:
            return f"all {n_compared}"
        return ", ".join(names[hook] for hook in hooks) or html.NO_VALUE

    columns: Columns[VerdictRow] = [
        ("architecture", lambda r: r.second), ("against", lambda r: r.first), ("at L0", lambda r: r.l0),
        ("measure", lambda r: title_of(r.measure)), ("difference, mean over layers", html.interval),
        ("higher in layers", lambda r: of_layers(r.higher, r)), ("lower in layers", lambda r: of_layers(r.lower, r)),
        ("undecided in layers", lambda r: of_layers(r.undecided, r)),
    ]  # fmt: skip
    if any(row.not_compared for row in content.tables.verdicts):
        columns = [
            *columns, ("not compared in layers", lambda r: ", ".join(names[hook] for hook in r.not_compared))
        ]  # fmt: skip
    return columns


def section(content: Content) -> dict[str, Any] | None:
    """Return what templates/compare.html shows of the report; None if no two architectures share an L0."""
    verdicts = content.tables.verdicts
    if not verdicts:
        return None
    first, second = _pair(content)
    n_compared = {row.l0: 0 for row in verdicts} | Counter(row.l0 for row in verdicts if row.value is not None)
    l0 = main_l0(n_compared)
    rows = [row for row in verdicts if (row.first, row.second, row.l0) == (first, second, l0)]
    of_numbers = verdict_columns(content)[4:8]
    return {
        "first": first, "second": second, "l0": html.plain(l0).text,
        "incomplete": any(row.value is None for row in verdicts),
        "rows": [(title_of(row.measure), [_measure(row), *html.cells(row, of_numbers)]) for row in rows],
    }  # fmt: skip


def _pair(content: Content) -> tuple[str, str]:
    """Return the baseline and NSAE, or the two first families if one of these is missing.

    A baseline counts whatever its inputs are scaled by.
    """
    first_of = {runs[0].variant: name for name, runs in reversed(content.measurements.families.items())}
    pairs = list(dict.fromkeys((row.first, row.second) for row in content.tables.verdicts))
    wanted = {first_of.get("baseline"), first_of.get("nsae")}
    return next((pair for pair in pairs if set(pair) == wanted), pairs[0])


def _measure(row: VerdictRow) -> HtmlCell:
    return HtmlCell(title_of(row.measure), below=BETTER.get(measure_of(row.measure).better or "", ""))
