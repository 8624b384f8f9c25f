"""The answer of the report: verdicts, one chart, a table with a row per architecture and L0, and its terms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from analyze.compare.summary.enumerations import joined
from analyze.compare.summary.summary import BEST, RANDOM_DECODER_NOTE, TIED, Summary, SummaryLine
from analyze.report import html
from analyze.report.html import HtmlCell, Table
from analyze.report.pages import compare_two
from analyze.report.pages.compared import count
from analyze.report.pages.content import Content
from train.measures import measure_of, title_of

NOT_COMPARED = "At no common L0"
MARKS = {BEST: "★", TIED: "≈"}
MEANINGS = {
    "nats_lost": "how much the language model's loss per token rises with reconstructions in place of activations",
    "score": "the share recovered of what zeros in place of the activations cost, so that all layers weigh the same",
    "kl": "how far the model's predictions are then from its own, in nats per token",
    "gamma": "Σ‖x̂‖² / Σ⟨x̂, x⟩: below 1, reconstructions x̂ are shrunk; ranked by each layer's distance from 1",
}


def section(content: Content) -> dict[str, Any]:
    """Return what templates/index.html shows of the report."""
    summary = content.summary
    return {
        "sentences": summary.sentences,
        "chart": content.charts.get("pareto"),
        "table": summary_table(summary),
        "key": summary_key(summary, content.scope.heldout.unit, content.n_seeds),
        "glossary": glossary(summary, content.variants),
        "compared": compare_two.section(content),
    }


def summary_table(summary: Summary) -> Table:
    """Return the summary as a table, in groups by the L0 at which architectures are compared.

    Where the number of layers or seeds differs between groups, their headings have it; where it differs between the
    lines of one group, it is a column.
    """
    by_target: dict[float | None, list[SummaryLine]] = defaultdict(list)
    for line in summary.lines:
        by_target[line.target].append(line)
    numbers = {
        name: [{getattr(line, name) for line in lines} for lines in by_target.values()] for name in ("layers", "seeds")
    }
    columns = [name for name, of_groups in numbers.items() if any(len(group) > 1 for group in of_groups)]
    in_heading = [
        name for name, of_groups in numbers.items() if name not in columns and len(set().union(*of_groups)) > 1
    ]
    groups = {
        _heading(target, lines[0], in_heading): [
            [
                HtmlCell(line.family, below=line.note), html.plain(line.l0),
                *(_cell(line, measure) for measure in summary.measures),
                *(html.plain(getattr(line, name)) for name in columns),
            ]
            for line in lines
        ]
        for target, lines in by_target.items()
    }  # fmt: skip
    better = {title_of(name): direction for name, direction in html.directions_of(summary.measures).items()}
    return Table(["architecture", "L0", *map(title_of, summary.measures), *columns], groups, better)


def summary_key(summary: Summary, unit: str, n_seeds: int) -> str:
    """Return the key to the table: what its numbers are, and which values are better."""
    by_direction = defaultdict(list)
    for measure in summary.measures:
        by_direction[measure_of(measure).better].append(title_of(measure))
    better = "; ".join(f"{direction} for {joined(titles)}" for direction, titles in by_direction.items())
    over = f"{unit}s and seeds" if n_seeds > 1 else f"{unit}s"
    numbers = {line.layers for line in summary.lines}
    layers = f"{numbers.pop()} layers" if len(numbers) == 1 and numbers != {1} else "layers"
    return (
        f"Means over {layers}, noise off, with their 95 % intervals over {over}; a mean varies less than one layer. "
        f"Better is {better}."
    )


def glossary(summary: Summary, variants: Sequence[str]) -> list[tuple[str, str]]:
    """Return the marks and terms of the table with their meanings."""
    rows = next((line.rows_counted for line in summary.lines if line.rows_counted is not None), None)
    meanings = dict(MEANINGS)
    if rows is not None:
        meanings["dead"] = f"share of features that fire in none of {rows:,} held-out rows"
    controls = dict.fromkeys(line.family for line in summary.lines if line.note == RANDOM_DECODER_NOTE)
    nsae = {"NSAE": "the normalized sparse autoencoder, whose activations are bounded and have noise in training"}
    return [
        (MARKS[BEST], "the best mean at this L0"),
        (
            MARKS[TIED],
            "tied with it: the difference of the means is within chance (5 %, with Holm's correction for all pairs)",
        ),
        *((title_of(measure), meanings[measure]) for measure in summary.measures if measure in meanings),
        *((name, "a control whose decoder stays random, not ranked") for name in controls),
        *(nsae.items() if "nsae" in variants else ()),
    ]


def _heading(target: float | None, line: SummaryLine, numbers: Sequence[str]) -> str:
    """Return "At L0 = 40, 5 layers"."""
    counted = [count(getattr(line, name), name.removesuffix("s")) for name in numbers]
    return ", ".join([NOT_COMPARED if target is None else f"At L0 = {target:g}", *counted])


def _cell(line: SummaryLine, measure: str) -> HtmlCell:
    summary = line.cells.get(measure)
    if summary is None:
        return HtmlCell(html.NO_VALUE)
    html_cell = html.with_interval(summary.value, summary.low, summary.high, summary.mark)
    return replace(html_cell, text=f"{MARKS[summary.mark]} {html_cell.text}") if summary.mark in MARKS else html_cell
