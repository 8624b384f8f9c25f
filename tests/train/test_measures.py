"""The registry of measures, and the documentation's list of it."""

from __future__ import annotations

from pathlib import Path

from train.measures import (
    COMPARED,
    FIRST_IN_MENUS,
    HELD_OUT,
    MEASURES,
    OVER_TRAINING,
    PATCHED,
    RANKED,
    TRAINING,
    TRUTH,
    Sample,
)

DOCUMENT = Path(__file__).parents[2] / "docs" / "report-data.md"
GUIDE = Path(__file__).parents[2] / "docs" / "report.md"
ON = {Sample.TRAINING: "training", Sample.HELD_OUT: "held-out", Sample.PATCHED: "patched", Sample.TRUTH: "truth"}


def documented() -> str:
    """The registry as the document's Markdown table."""
    lines = ["| measure | title | formula | unit | better | on |", "|---|---|---|---|---|---|"]
    for m in MEASURES:
        on = ", ".join(word for sample, word in ON.items() if sample in m.on)
        lines.append(f"| `{m.name}` | {m.title} | {m.formula} | {m.unit} | {m.better or ''} | {on} |")
    return "\n".join(lines)


def test_the_documents_list_of_measures_is_the_registry() -> None:
    assert documented() in DOCUMENT.read_text(encoding="utf-8"), f"put this table there:\n{documented()}"


def test_the_guide_to_the_report_has_the_registrys_titles_and_directions() -> None:
    section = GUIDE.read_text(encoding="utf-8").split("## What the measures mean")[1].split("\n## ")[0]
    rows = [line.strip("| ").split("|")[:2] for line in section.splitlines() if line.startswith("| ")][1:]
    written = {title.strip(): better.strip() for title, better in rows}
    assert len(written) > 10
    assert written.items() <= {m.title: m.better or "" for m in MEASURES if m.name != "loss"}.items()


def test_each_sample_has_one_measure_of_a_name() -> None:
    of_samples = (TRAINING, HELD_OUT, PATCHED, TRUTH)
    assert sum(map(len, of_samples)) == sum(sample in m.on for m in MEASURES for sample in Sample)


def test_measures_of_one_name_have_one_title_and_unit() -> None:
    titles = {(m.name, m.title) for m in MEASURES}
    assert len(titles) == len({m.name for m in MEASURES})


def test_lists_of_a_few_measures_name_measures_of_the_registry() -> None:
    assert {*RANKED, *COMPARED, *OVER_TRAINING, *FIRST_IN_MENUS} <= {m.name for m in MEASURES}
