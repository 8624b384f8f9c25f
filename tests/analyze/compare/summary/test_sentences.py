"""The summary's sentences: what they say, and with which caveats, on made-up measurements whose truth is known."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from analyze.compare.summary.sentences import ONE_SEED
from tests.analyze.compare.summary.made_up import HOOKS, MadeUp, Values, made_up

NATS = {"topk": 0.10, "relu": 0.11, "nsae": 0.13, "baseline": 0.15, "frozen": 0.2}
FOUR = ["baseline", "nsae", "relu", "topk"]
TARGETS = (20.0, 40.0, 80.0)


def nats(name: str, l0: float, layer: int) -> float:
    return NATS[name]


def variance(name: str, l0: float, layer: int) -> float:
    return 0.8 - NATS[name]


def measured(nats_lost: Values = nats, names: list[str] = FOUR, **options: object) -> MadeUp:
    return made_up(names, {"explained_variance": variance, "nats_lost": nats_lost}, **options)  # type: ignore[arg-type]


def test_the_first_sentence_names_the_best_at_all_l0_where_it_is_the_same_with_its_mean_in_the_middle() -> None:
    first = measured(l0_values=TARGETS).summary().sentences[0]
    number = r"0\.1\d* ± 0\.00\d+"
    expected = (
        rf"At L0 = 20, 40 and 80 topk loses the fewest nats per token \({number} at L0 = 40, mean over 4 layers\); "
        r"relu loses 0\.0\d+ ± 0\.00\d+ more at L0 = 40 \(in each layer\), and nsae and baseline 0\.0\d+ to 0\.0\d+ "
        r"more\."
    )
    assert re.fullmatch(expected, first)


def test_where_l0_differ_the_middle_one_is_named_and_the_others_are_summarised() -> None:
    def crossing(name: str, l0: float, layer: int) -> float:
        return nats(name, l0, layer) + 0.1 * (name == "topk" and l0 > 40)

    sentences = measured(crossing, l0_values=TARGETS).summary().sentences
    assert sentences[0].startswith("At L0 = 20 and 40 topk loses the fewest nats per token (")
    assert re.fullmatch(r"At L0 = 80 the best is relu \(0\.1\d* ± 0\.00\d+\), without ties\.", sentences[1])


def test_the_first_sentence_is_about_the_l0_where_most_architectures_are_ranked() -> None:
    only_at_40 = {"relu": (40.0,), "topk": (40.0,)}
    sentences = measured(l0_values=(40.0, 43.0), l0_values_of=only_at_40).summary(l0_values=(40.0, 43.0)).sentences
    assert sentences[0].startswith("At L0 = 40 topk loses the fewest nats per token (")
    assert re.fullmatch(
        r"At L0 = 43 the best is nsae \(0\.1\d* ± 0\.00\d+\), without ties \(of baseline and nsae only\)\.",
        sentences[1],
    )
    assert sentences[2].startswith("At L0 = 40 nsae loses 0.0")


def test_layers_in_which_not_all_architectures_are_compared_are_named() -> None:
    first = measured(hooks_of={"relu": HOOKS[:2] + HOOKS[3:]}).summary().sentences[0]
    assert ", mean over 3 layers, without layer 2); " in first


def test_a_layer_without_an_architecture_at_the_l0_is_said_to_be_left_out_and_why() -> None:
    def misses(name: str, l0: float, layer: int) -> float:
        return 38.5 if name == "relu" and layer == 2 else l0

    sentences = measured(measured_l0=misses).summary().sentences
    assert ", mean over 3 layers, without layer 2); " in sentences[0]
    assert sentences[-1].startswith(
        "The means at L0 = 40 are without layer 2: no run of relu has this L0 (the nearest has 38.5), and "
    )


def test_values_that_are_interpolated_are_named_with_their_layers() -> None:
    def misses(name: str, l0: float, layer: int) -> float:
        return 0.96 * l0 if name == "relu" and layer == 2 else l0

    sentences = measured(measured_l0=misses, l0_values=TARGETS).summary().sentences
    assert any(", and values of relu in layer 2 are interpolated between runs; " in sentence for sentence in sentences)


def test_the_posts_question_has_the_difference_in_gamma() -> None:
    def gamma(name: str, l0: float, layer: int) -> float:
        return 0.94 if name == "nsae" else 0.86

    values = {"explained_variance": variance, "nats_lost": nats, "gamma": gamma}
    sentences = made_up(FOUR, values).summary().sentences
    assert sum("γ" in sentence for sentence in sentences) == 1
    assert re.fullmatch(
        r"At L0 = 40 γ of nsae is 0\.0(8|79)\d* ± 0\.00\d+ higher than that of baseline in all 4 layers; below 1, "
        r"reconstructions shrink\.",
        sentences[2],
    )


def test_the_next_best_is_named_with_the_layers_that_decide() -> None:
    def in_two_layers(name: str, l0: float, layer: int) -> float:
        return 0.1 + 0.05 * (name == "relu" and layer < 2) - 0.02 * (name == "relu" and layer == 3)

    first = measured(in_two_layers, names=["topk", "relu"]).summary().sentences[0]
    assert re.search(
        r"; relu loses 0\.0\d+ ± 0\.00\d+ more \(decided in layers 0, 1 alone, the reverse in layer 3\)\.$", first
    )


def test_ties_are_named_and_the_seeds_that_would_decide_them() -> None:
    sentences = measured(lambda name, l0, layer: 0.1 + 0.001 * (name == "relu") + 0.03 * (name in FOUR[:2]),
                         seed_spread=0.002).summary().sentences  # fmt: skip
    pairs = "(nsae and baseline|baseline and nsae)"
    assert re.search(
        rf"; (relu|topk) is tied with it \(0\.0\d+ more\), and {pairs} lose 0\.0\d+ to 0\.0\d+ more\.$", sentences[0]
    )
    assert re.fullmatch(
        r"Intervals of nats lost are over 3 seeds and 40 documents; (\d+ seeds and [\d,]+ documents would decide the "
        r"tie with (relu|topk), if the differences are as large as seen|up to 20 seeds would not decide the tie with "
        r"(relu|topk), as small as the differences look)\.",
        sentences[-1],
    )


def test_ties_that_too_few_documents_leave_undecided_are_named_so() -> None:
    sentences = measured(documents=8).summary().sentences
    assert sentences[0].startswith("At L0 = 40 none of 4 architectures is shown to lose fewer nats per token")
    assert sentences[-1] == (
        "Intervals of nats lost are over 3 seeds and 8 documents; the ties with relu, nsae and baseline cannot be "
        "decided (too few documents)."
    )


def test_if_all_are_tied_none_is_called_the_best_at_any_l0() -> None:
    sentences = measured(lambda name, l0, layer: 0.1, seed_spread=0.002, l0_values=TARGETS).summary().sentences
    assert sentences[0].startswith(
        "At L0 = 20, 40 and 80 none of 4 architectures is shown to lose fewer nats per token than the others; "
    )
    assert " has the best mean (0.1" in sentences[0] or " has the best mean (0.09" in sentences[0]
    two = measured(lambda name, l0, layer: 0.1, names=["topk", "relu"], seed_spread=0.002).summary().sentences
    assert two[0].startswith("At L0 = 40 neither topk nor relu is shown to lose fewer nats per token than the other; ")


def test_the_posts_question_is_answered_with_the_layers_that_differ() -> None:
    def worse_in_layer_3(name: str, l0: float, layer: int) -> float:
        return nats(name, l0, layer) + 0.1 * (name == "nsae" and layer == 3)

    second = measured(worse_in_layer_3).summary().sentences[1]
    assert second.startswith("At L0 = 40 nsae loses 0.00")
    assert second.endswith(
        " nats per token more than baseline on average over 4 layers: more in 1 (layer 3), less in 3 (layers 0, 1, 2)."
    )


def test_the_posts_question_is_answered_also_where_inputs_are_normalised() -> None:
    second = measured(input_scale="sqrt-d").summary().sentences[1]
    assert second.endswith(" less than baseline in all 4 layers.")


def test_the_posts_question_says_where_the_answer_is_another() -> None:
    def crossing(name: str, l0: float, layer: int) -> float:
        return nats(name, l0, layer) + 0.1 * (name == "nsae" and l0 > 40)

    sentences = measured(crossing, l0_values=TARGETS).summary().sentences
    at = next(i for i, sentence in enumerate(sentences) if "than baseline" in sentence)
    number = r"0\.0\d+ ± 0\.00\d+"
    assert sentences[at].endswith(" less than baseline in all 4 layers.")
    expected = rf"At other L0, nsae against baseline: {number} less at L0 = 20; {number} more at L0 = 80\."
    assert re.fullmatch(expected, sentences[at + 1])


def test_without_the_language_model_the_sentences_are_about_explained_variance() -> None:
    made = measured()
    sentences = replace(made, patched={}).summary().sentences
    assert sentences[0].startswith("At L0 = 40 topk explains the most variance (0.7")
    assert re.search(
        r"; relu explains 0\.01\d* ± 0\.00\d+ less \(in each layer\), and nsae and baseline 0\.03\d* to "
        r"0\.05\d* less\.$",
        sentences[0],
    )
    assert " of the variance more than baseline in all 4 layers." in sentences[1]


def test_summary_of_one_seed_begins_by_saying_that_it_is_about_these_saes() -> None:
    sentences = measured(n_seeds=1).summary().sentences
    assert sentences[0].startswith(f"{ONE_SEED}at L0 = 40 topk loses the fewest nats per token")
    assert sentences[-1] == (
        "Intervals of nats lost are over 1 seed and 40 documents; for a verdict on the architectures train three seeds "
        "or more (--seeds)."
    )


def test_two_seeds_name_no_layer_but_a_large_difference_over_all_of_them() -> None:
    sentences = measured(n_seeds=2, seed_spread=0.0001).summary().sentences
    assert sentences[0].startswith("At L0 = 40 topk loses the fewest nats per token")
    assert "less than baseline on average over 4 layers" in sentences[1]
    assert sentences[-1].startswith("Intervals of nats lost are over 2 seeds and 40 documents")


def test_one_architecture_is_measured_but_not_compared() -> None:
    summary = measured(names=["topk"]).summary()
    (sentence,) = summary.sentences
    assert re.fullmatch(
        r"All runs are of one architecture, topk, so none is compared: at L0 = 40 it explains 0\.\d+ ± 0\.0\d+ of the "
        r"variance\.",
        sentence,
    )
    (line,) = summary.lines
    assert [cell.mark for cell in line.cells.values()] == ["", ""]


def test_runs_of_different_l0_say_which_option_makes_them_comparable() -> None:
    made = measured(measured_l0=lambda name, l0, layer: l0 * (1 + FOUR.index(name)))
    (sentence,) = made.summary(l0_values=[]).sentences
    assert sentence.startswith("No two architectures have SAEs of the same L0, so none is said to be better; train")
    assert "--target-l0" in sentence


def test_if_all_runs_are_unfinished_none_is_ranked_and_the_reason_is_given() -> None:
    made = measured(names=["topk", "relu"], unfinished=["topk", "relu"], seed_spread=0.0)
    sentences = [re.sub(r"0\.\d+", "0.1", text) for text in made.summary().sentences]
    assert sentences == [
        "No two architectures can be ranked; at L0 = 40 they range from topk, which loses 0.1 nats per token, to relu, "
        "0.1.",
        "Not ranked: topk and relu (unfinished in 4 of 4 layers).",
    ]


@pytest.mark.parametrize("random_decoder", ["frozen"])
def test_random_decoder_control_is_not_called_the_best_but_left_out(random_decoder: str) -> None:
    sentences = measured(
        lambda name, l0, layer: 0.1 * (name != random_decoder), names=["topk", "nsae", random_decoder]
    ).summary().sentences  # fmt: skip
    assert sentences[0].endswith(f" ({random_decoder}, a control, is left out).")
    assert sum(text.count(random_decoder) for text in sentences) == 1
