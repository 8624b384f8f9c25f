"""Rows of the options of `train` that are settings of architectures, each with a variant that has it."""

from __future__ import annotations

from tests.options.kinds import CONTRADICTION, EMPTY, HUGE, NO_RIGHTS, ZERO
from tests.options.rows import (
    choice,
    count,
    number,
    refused,
    text,
    truth,
    with_variant,
    works,
)

ANY = {ZERO: ("0", None)}
NO_AUX = "has no effect with --aux 0; leave it out"
OF_TOPK = {
    "k": count("--k", {NO_RIGHTS: ("5000", "is more than the 16 features")}),
    "aux": number("--aux", ANY),
    "aux_k": count("--aux-k", {**ANY, CONTRADICTION: refused("--aux", "0", "--aux-k", "3", sentence=NO_AUX)}),
    "aux_form": choice("--aux-form", {CONTRADICTION: refused("--aux", "0", "--aux-form", "absolute", sentence=NO_AUX)}),
    "dead_after": count("--dead-after", {CONTRADICTION: refused("--aux", "0", "--dead-after", "9", sentence=NO_AUX)}),
    "bias_start": choice("--bias-start"),
    "start_norm": number("--start-norm"),
}
OF_BATCHTOPK = {
    "threshold_decay": number("--threshold-decay", {**ANY, HUGE: ("1.5", "at most 1")}),
    "threshold_after": count("--threshold-after", ANY),
    "threshold_first": choice("--threshold-first"),
}
OF_MATRYOSHKA = {
    "prefixes": text(
        "--prefixes",
        "give shares of at most 1 in all",
        {
            CONTRADICTION: ("1/32+31/32", "prefix 1 adds less than one of the 16 features; give larger shares"),
            NO_RIGHTS: ("1/4+1e999999999", "give shares of at most 1 in all"),
        },
    ),
    "prefix_loss": choice("--prefix-loss"),
}
OF_RELU = {
    "subtract_bias": truth("--subtract-bias"),
    "adam_beta2": number("--adam-beta2", {**ANY, HUGE: ("1", "at most 0.999999")}),
    "adam_epsilon": number("--adam-epsilon"),
}
OF_GATED = {"aux_decoder": choice("--aux-decoder"), "l1_weight": choice("--l1-weight")}
OF_JUMPRELU = {
    "sparsity": choice("--sparsity"),
    "target_l0": number(
        "--target-l0",
        {
            CONTRADICTION: refused(
                "--sparsity",
                "tanh",
                "--target-l0",
                "2",
                sentence="has no effect unless --sparsity is target, quadratic or quadratic-row; leave it out",
            ),
            NO_RIGHTS: works("--sparsity", "step,quadratic", "--target-l0", "2"),
            ZERO: ("0", "has no effect unless --sparsity is target"),
            HUGE: ("1e30", "--target-l0 1e+30: is not less than the 16 features; give less, or more --expansion"),
        },
    ),
    "bandwidth": number("--bandwidth"),
    "threshold": number("--threshold", ANY),
    "ste_to_input": truth("--ste-to-input"),
    "l0_of": choice(
        "--l0-of",
        {
            CONTRADICTION: refused(
                "--sparsity", "tanh", "--l0-of", "activations", sentence="no effect with --sparsity tanh"
            ),
        },
    ),
    "pre_act_loss": number("--pre-act-loss", ANY),
    "unit_decoder": truth("--unit-decoder"),
    "adam_beta1": number("--adam-beta1", {**ANY, HUGE: ("1", "at most 0.9999")}),
}
OF_P_ANNEAL = {
    "penalty": choice("--penalty"),
    "p_end": number("--p-end", {**ANY, HUGE: ("1.5", "at most 1")}),
    "anneal_after": count(
        "--anneal-after",
        {
            **ANY,
            CONTRADICTION: ("1k", "--anneal-after 1,000: p would stay 1 until the end of --activations 1,000"),
        },
    ),
    "p_updates": count(
        "--p-updates",
        {
            CONTRADICTION: ("1", "--p-updates 1: p would stay 1; give 2 or more"),
            NO_RIGHTS: (
                "1M",
                "--p-updates 1,000,000: is more than the 16 steps from --anneal-after on; give at most that",
            ),
        },
    ),
}
NOTHING = "has an empty part"
SETTINGS = {
    name: with_variant(
        variant, {**rows, EMPTY: refused(f"--{name.replace('_', '-')}", "", sentence=NOTHING)},
        *(("--k", "4") if variant in ("topk", "batchtopk", "matryoshka") and name != "k" else ()),
        *(("--prefixes", "1/4+3/4") if variant == "matryoshka" and name != "prefixes" else ()),
    )
    for variant, of_variant in (
        ("topk", OF_TOPK), ("batchtopk", OF_BATCHTOPK), ("matryoshka", OF_MATRYOSHKA), ("gated", OF_GATED),
        ("relu", OF_RELU), ("jumprelu", OF_JUMPRELU), ("p-anneal", OF_P_ANNEAL),
    )
    for name, rows in of_variant.items()
}  # fmt: skip
