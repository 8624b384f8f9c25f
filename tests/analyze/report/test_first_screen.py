"""The first screen's text and table, and the cells of all tables."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analyze.compare.summary.enumerations import joined
from analyze.compare.summary.summary import RANDOM_DECODER_NOTE, Summary, SummaryCell, SummaryLine
from analyze.compare.targets import TargetRow
from analyze.report import html
from analyze.report.pages.answer import glossary, summary_key, summary_table
from analyze.report.pages.compared import corrected_warning, loss_of_model, unsettled_warning, where
from analyze.statistics.estimates import MeasureRow

SETTLED = "had settled: L0 and explained variance changed by less than 5% in the last tenth of training"


def line(family: str, target: float | None, *, mark: str = "", layers: int = 6) -> SummaryLine:
    cells = {"kl": SummaryCell(0.1234, 0.12, 0.13, mark), "dead": SummaryCell(0.25, None, None)}
    return SummaryLine(family, target, 40.2, 3, layers, cells, rows_counted=1000, note="not ranked" * (not mark))


@pytest.mark.parametrize(("hooks", "text"), [
    (["blocks.3.hook_mlp_out"], "blocks.3.hook_mlp_out"),
    ([f"blocks.{i}.hook_mlp_out" for i in (0, 1, 2, 3)], "blocks.*.hook_mlp_out, layers 0 to 3"),
    ([f"blocks.{i}.hook_mlp_out" for i in (1, 2, 11)], "blocks.*.hook_mlp_out, layers 1, 2 and 11"),
    (["blocks.0.hook_mlp_out", "blocks.0.hook_resid_post"], "blocks.0.hook_mlp_out and blocks.0.hook_resid_post"),
    (["hook_embed", "blocks.0.hook_mlp_out"], "hook_embed and blocks.0.hook_mlp_out"),
])  # fmt: skip
def test_hooks_of_one_kind_are_named_once_with_their_layers(hooks: list[str], text: str) -> None:
    assert where(hooks) == text


def test_names_are_listed_with_and() -> None:
    assert [joined(list(names)) for names in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]


def test_summary_table_groups_architectures_by_l0_and_marks_the_best_and_its_ties() -> None:
    lines = [line("nsae", 20.0, mark="best"), line("topk", 20.0, mark="tied"), line("nsae", 40.0), line("gated", None)]
    table = summary_table(Summary([], [20.0, 40.0], ["kl", "dead"], lines))
    assert table.header == ["architecture", "L0", "KL", "dead"]
    assert [(title, [row[0].text for row in rows]) for title, rows in table.groups.items()] == [
        ("At L0 = 20", ["nsae", "topk"]), ("At L0 = 40", ["nsae"]), ("At no common L0", ["gated"])
    ]  # fmt: skip
    best, tied, unmarked, _ = (row[2] for row in table.rows)
    assert (best.text, best.value, best.below, best.mark) == ("★ 0.123", 0.1234, "0.120 to 0.130", "best")
    assert (tied.text, unmarked.text) == ("≈ 0.123", "0.123")
    assert [row[0].below for row in table.rows] == ["", "", "not ranked", "not ranked"]
    assert table.rows[0][3] == html.HtmlCell("0.25", 0.25)


def test_summary_table_has_numbers_of_layers_and_seeds_only_where_they_differ() -> None:
    lines = [line("nsae", 20.0, layers=5), line("topk", 20.0)]
    table = summary_table(Summary([], [20.0], ["kl"], lines))
    assert table.header == ["architecture", "L0", "KL", "layers"]
    assert [row[-1].text for row in table.rows] == ["5", "6"]


def test_headings_of_the_summary_table_have_the_numbers_of_layers_that_differ_between_l0_values() -> None:
    lines = [line("nsae", 40.0, layers=5), line("topk", 40.0, layers=5), line("nsae", 43.0, layers=1)]
    table = summary_table(Summary([], [40.0, 43.0], ["kl"], lines))
    assert list(table.groups) == ["At L0 = 40, 5 layers", "At L0 = 43, 1 layer"]
    assert table.header == ["architecture", "L0", "KL"]


def test_loss_of_the_model_is_given_with_the_range_over_layers_of_what_zeros_add() -> None:
    added = {"blocks.0.hook_mlp_out": 9.96, "blocks.1.hook_mlp_out": 0.087}
    rows = [
        MeasureRow("a/topk", "topk", hook, False, "all", measure, value, value, value, 15.0)
        for hook, zeros in added.items()
        for measure, value in (("loss_clean", 2.9552), ("nats_lost_zero", zeros))
    ]
    text = "its own loss is 2.96 nats per token and {} more with zeros in place of a layer's activations"
    assert text.format("0.087 to 10") in loss_of_model(rows)
    assert text.format("10") in loss_of_model(rows[:2])
    assert loss_of_model([]) == ""


def test_warning_names_the_architectures_that_the_last_correction_alone_brought_to_their_target() -> None:
    def row(variant: str, l0_before: float | None) -> TargetRow:
        return TargetRow("run", variant, "hook", 40.0, 40.1, 40.0, 40.2, 0.0, True, 40.0, l0_before, 1.0, 1.0, 1000)

    assert corrected_warning([row("nsae", 38.0), row("topk", None)]) == []
    assert corrected_warning([row("nsae", 38.0), row("jumprelu", 57.0), row("jumprelu", 30.0)]) == [(
        "Trained at another L0",
        "2 of 3 SAEs, all of jumprelu, had an L0 more than 10% from their target until the last correction of their "
        "thresholds (see Training).",
    )]  # fmt: skip


def test_warning_counts_saes_and_names_the_layers_and_architectures_of_those_not_known_to_have_settled() -> None:
    hooks = [f"blocks.{i}.hook_mlp_out" for i in range(3)]
    states = {(variant, hook): True for variant in ("nsae", "topk") for hook in hooks}
    assert unsettled_warning([(*sae, state) for sae, state in states.items()]) == []
    unknown: dict[tuple[str, str], bool | None] = {**states, ("nsae", hooks[0]): None, ("topk", hooks[0]): None}
    assert unsettled_warning([(*sae, state) for sae, state in unknown.items()]) == [
        ("Perhaps not settled", f"4 of 6 SAEs {SETTLED}; of 2 the logs do not tell, all in layer 0 (see Training).")
    ]
    moving = {**unknown, ("nsae", hooks[2]): False}
    assert unsettled_warning([(*sae, state) for sae, state in moving.items()]) == [(
        "Not settled",
        f"3 of 6 SAEs {SETTLED}; 1 still changed by more, of nsae in layer 2; of 2 the logs do not tell, all in "
        "layer 0 (see Training).",
    )]  # fmt: skip


def test_key_says_which_values_are_better_and_what_intervals_are_over() -> None:
    measures = ["explained_variance", "nats_lost", "kl", "gamma", "dead"]
    text = summary_key(Summary([], [20.0], measures, [line("nsae", 20.0)]), "document", 3)
    assert "higher for explained variance; lower for nats lost, KL and dead; near 1 for γ" in text
    assert "intervals over documents and seeds;" in text


def test_glossary_explains_the_terms_of_the_table_alone() -> None:
    lines = [line("nsae", 20.0), replace(line("frozen", 20.0), note=RANDOM_DECODER_NOTE)]
    terms = dict(glossary(Summary([], [20.0], ["kl", "dead"], lines), ["nsae", "frozen"]))
    assert list(terms) == ["★", "≈", "KL", "dead", "frozen", "NSAE"]
    assert "1,000 held-out rows" in terms["dead"]
    without_dead = replace(line("topk", 20.0), rows_counted=None)
    assert list(dict(glossary(Summary([], [20.0], ["gamma"], [without_dead]), ["topk"]))) == ["★", "≈", "γ"]


def test_long_text_is_folded_after_a_whole_word() -> None:
    text = " ".join(["word"] * 50)
    cell = html.plain(text)
    assert cell.beginning + cell.rest == text
    assert len(cell.beginning) <= html.SHOWN
    assert cell.beginning.endswith("word")
    assert html.plain("x" * html.LONG).rest == ""
