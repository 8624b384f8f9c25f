"""Comparisons as a printed text: the verdicts, and the table of differences by layer."""

from __future__ import annotations

from collections.abc import Sequence

from analyze.compare.equal_l0.comparison import DifferenceRow
from analyze.compare.equal_l0.sentence import VerdictRow
from analyze.tables import markdown, short, with_interval
from train.measures import title_of


def as_text(verdicts: Sequence[VerdictRow], rows: Sequence[DifferenceRow]) -> str:
    """Return a list of verdicts, and a Markdown table with a line per row of differences.

    p is corrected for the number of layers (Holm), not for the number of measures and values of L0.
    """
    lines = [
        [
            f"{row.l0:g}", title_of(row.measure), row.hook, f"{row.second} − {row.first}",
            with_interval(row.value, row.low, row.high), short(row.detectable),
            short(row.leave_one_out_error), short(row.p_holm), row.verdict, plan(row), row.note,
        ]
        for row in rows
    ]  # fmt: skip
    header = [
        "at L0", "measure", "hook", "difference", "value", "smallest detectable", "leave-one-out error",
        "p (Holm over layers)", "verdict", "would be decided by", "note",
    ]  # fmt: skip
    sentences = "\n".join(f"- {verdict.text}" for verdict in verdicts)
    return f"{sentences}\n\n{markdown(header, lines)}"


def plan(row: DifferenceRow) -> str:
    """Return the seeds and documents of equal length that would decide a difference; empty if none are known."""
    if row.needed_seeds is None or row.needed_effective_groups is None:
        return ""
    return f"{row.needed_seeds:,} seed{'s' * (row.needed_seeds > 1)}, {row.needed_effective_groups:,} documents"
