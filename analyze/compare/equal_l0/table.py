"""Comparisons as a printed text: the verdicts, and the table of differences by layer."""

from __future__ import annotations

from collections.abc import Sequence

from analyze.compare.equal_l0.comparison import DifferenceLine
from analyze.compare.equal_l0.sentence import VerdictLine
from analyze.tables import markdown, short, with_interval
from train.measures import title_of


def as_text(verdicts: Sequence[VerdictLine], lines: Sequence[DifferenceLine]) -> str:
    """Return a list of verdicts, and a Markdown table with a row per line of differences.

    p is corrected for the number of layers (Holm), not for the number of measures and values of L0.
    """
    rows = [
        [
            f"{line.l0:g}", title_of(line.measure), line.hook, f"{line.second} − {line.first}",
            with_interval(line.value, line.low, line.high), short(line.detectable), short(line.p_holm),
            line.verdict, line.note,
        ]
        for line in lines
    ]  # fmt: skip
    header = ["at L0", "measure", "hook", "difference", "value", "smallest detectable", "p (Holm over layers)"]
    sentences = "\n".join(f"- {verdict.text}" for verdict in verdicts)
    return f"{sentences}\n\n{markdown([*header, 'verdict', 'note'], rows)}"
