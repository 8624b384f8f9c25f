"""Each option of `train` with each kind of bad value."""

from __future__ import annotations

import pytest

from tests.options.kinds import CONTRADICTION, EMPTY, HUGE, NAN, NEGATIVE, NO_RIGHTS, WRONG_KIND, WRONG_TYPE, ZERO, Kind
from tests.options.rows import (
    LONG,
    cache,
    choice,
    count,
    flag,
    layers,
    list_rows,
    number,
    refused,
    text,
    valued,
    works,
)
from tests.options.table import Table, Watched, check
from tests.options.train_settings import ANY, NOTHING, SETTINGS
from train.cli import main

NONE = "cannot be read (No such file or directory)"
LONGER = "is longer than a file's name may be"

SEED = {ZERO: ("0", None), HUGE: ("1e30", "'1e30' is too much")}
NEVER = "has no effect without --resample-interval; leave it out"

TABLE = Table(
    main,
    [
        "--store", "{store}", "--variant", "nsae", "--out", "{new}", "--device", "cpu", "--activations", "1k",
        "--batch-size", "64", "--expansion", "2",
    ],
    {
        "config": valued("--config", {
            WRONG_TYPE: ("{file}", "{file} is not TOML: "), EMPTY: ("", "the value is empty"),
            ZERO: ("0", NONE), NEGATIVE: ("-1", NONE), HUGE: ("/dev/zero", "has more than 1,048,576 bytes"),
            NAN: ("nan", NONE), WRONG_KIND: ("{folder}", "cannot be read (Is a directory)"),
            NO_RIGHTS: ("{file}/x", "cannot be read (Not a directory)"),
            CONTRADICTION: refused("--config", "{toml}", "--resume", "{runs}", sentence="exclude each other"),
        }),
        "resume": valued("--resume", {
            WRONG_TYPE: ("{file}", "cannot be read (Not a directory)"), EMPTY: ("", "the value is empty"),
            ZERO: ("0", NONE), NEGATIVE: ("-1", NONE), HUGE: (LONG, LONGER), NAN: ("nan", NONE),
            WRONG_KIND: ("{store}", NONE), NO_RIGHTS: ("{file}/x", "cannot be read (Not a directory)"),
            CONTRADICTION: ("{runs}", "--resume and --out exclude each other; give one of them"),
        }),
        "store": valued("--store", {
            WRONG_TYPE: ("nowhere://x", "nowhere"), EMPTY: ("", "the value is empty"),
            ZERO: ("0", "there is no store at 0"), NEGATIVE: ("-1", "there is no store at -1"), HUGE: (LONG, LONGER),
            NAN: ("nan", "there is no store at nan"), WRONG_KIND: ("{runs}", "there is no store at {runs}"),
            NO_RIGHTS: ("{file}/x", "{file}/x"),
            CONTRADICTION: refused(
                "--store", "{other}", "--resume", "{runs}", alone=True, sentence="store (the experiment has ",
            ),
        }),
        "variant": list_rows(text("--variant", "there is no such variant; give baseline, nsae"), "--variant", "nsae"),
        "preset": {
            **text("--preset", "there is no such preset; give post, saebench"),
            EMPTY: refused("--preset", "", sentence="'' has an empty part"),
            CONTRADICTION: refused("--preset", "post", sentence="a --preset already has a variant"),
        },
        "l1": list_rows(number("--l1", {ZERO: ("0", None), HUGE: ("1e31", "at most 1e+30")}), "--l1", "1e-5"),
        "lr": list_rows(number("--lr", {WRONG_KIND: ("1e-50", "--lr 1e-50: give a number")}), "--lr", "1e-3"),
        "sigma": {
            **list_rows(number("--sigma", {ZERO: ("0", None)}), "--sigma", "1"),
            CONTRADICTION: refused(
                "--variant", "baseline", "--sigma", "0.5", sentence="--sigma: has no effect without a run whose variant"
            ),
        },
        **SETTINGS,
        "seed": list_rows(count("--seed", SEED), "--seed", "5"),
        "seeds": count("--seeds", {
            HUGE: ("1001", "'1001' is too much; give at most 1,000"),
            CONTRADICTION: refused("--seeds", "2", "--seed", "3", sentence="--seeds and --seed exclude each other"),
        }),
        "l1_power": list_rows(
            count("--l1-power", {ZERO: ("0", None), HUGE: ("5", "is too much; give at most 4")}), "--l1-power", "1"
        ),
        "input_scale": list_rows(choice("--input-scale"), "--input-scale", "none"),
        "input_mean": list_rows(choice("--input-mean"), "--input-mean", "none"),
        **cache(),
        "layers": layers("the store"),
        "hook": text("--hook", "the store has no such hook; it has blocks.0.hook_mlp_out"),
        "out": valued("--out", {
            WRONG_TYPE: ("s3://bucket/x", "is an address; give a local path"), EMPTY: ("", "the value is empty"),
            ZERO: ("0", None), NEGATIVE: ("-1", None), HUGE: (LONG, LONGER), NAN: ("nan", None),
            WRONG_KIND: ("{folder}", "exists and holds no experiment of `train`; choose another --out"),
            NO_RIGHTS: ("{file}/x", "{file} is not a folder; choose another --out"),
            CONTRADICTION: ("{runs}", "holds an experiment with other settings: "),
        }),
        "expansion": number("--expansion", {
            WRONG_KIND: ("0.01", "leaves no feature at d_model 8; give more"),
            CONTRADICTION: ("1e9", "of memory"),
        }),
        "activations": count("--activations", {
            CONTRADICTION: ("10", "--activations 10: is less than a batch of 64; give more, or a smaller --batch-size"),
        }),
        "batch_size": count("--batch-size", {
            HUGE: ("1M", "--batch-size 1000000: the store has"),
            CONTRADICTION: ("1025", "is less than a batch of 1025"),
        }),
        "l2": choice("--l2", {
            CONTRADICTION: refused(
                "--variant", "topk,relu", "--l2", "sum", "--k", "4",
                sentence="--l2: has no effect without a run whose variant is baseline or nsae",
            ),
        }),
        "norm": choice("--norm", {
            CONTRADICTION: refused(
                "--variant", "baseline", "--norm", "store",
                sentence="--norm: has no effect without a run whose --l1-power is above 0",
            ),
            NO_RIGHTS: refused(
                "--variant", "jumprelu", "--norm", "sample",
                sentence="--norm: has no effect without a run whose --l1-power is above 0 (baseline and nsae have",
            ),
        }),
        "no_decoder_bias": flag("--no-decoder-bias"),
        "init": choice("--init"),
        "lr_warmup": count("--lr-warmup", {
            ZERO: ("0", None), EMPTY: ("", NOTHING),
            CONTRADICTION: ("2k", "--lr-warmup 2,000: is longer than --activations 1,000"),
        }),
        "l1_warmup": count("--l1-warmup", {
            ZERO: ("0", None), EMPTY: ("", NOTHING),
            CONTRADICTION: ("2k", "--l1-warmup 2,000: is longer than --activations 1,000"),
            NO_RIGHTS: refused(
                "--variant", "jumprelu", "--sparsity", "target", "--l1-warmup", "100",
                sentence="--l1-warmup: has no effect with --sparsity target, whose coefficient is",
            ),
        }),
        "lr_decay": count("--lr-decay", {
            ZERO: ("0", None), EMPTY: ("", NOTHING),
            CONTRADICTION: ("2k", "--lr-decay 2,000: is longer than --activations 1,000"),
        }),
        "clip": list_rows(number("--clip", ANY), "--clip", "1"),
        "precision": choice("--precision"),
        "resample_interval": count("--resample-interval", {
            CONTRADICTION: ("1k", "--resample-interval 1,000: no restart comes before the end of --activations 1,000"),
        }),
        "resample_window": count("--resample-window", {
            HUGE: ("100", NEVER),
            CONTRADICTION: refused(
                "--resample-interval", "500", "--resample-window", "600", sentence="is longer than --resample-interval"
            ),
        }),
        "resample_threshold": number("--resample-threshold", {
            ZERO: refused("--resample-threshold", "0", sentence=NEVER), HUGE: ("1.5", "at most 1"),
            CONTRADICTION: ("0.5", NEVER), WRONG_KIND: works("--resample-interval", "500", "--resample-threshold", "0"),
        }),
        "resample_at_most": count("--resample-at-most", {
            ZERO: works("--resample-interval", "500", "--resample-at-most", "0"), CONTRADICTION: ("3", NEVER),
        }),
        "resample_rows": count("--resample-rows", {
            HUGE: refused("--resample-interval", "500", "--resample-rows", "1T", sentence="training rows; give at"),
            CONTRADICTION: ("10", NEVER),
        }),
        "validate_every": count("--validate-every", {
            CONTRADICTION: refused(
                "--activations", "1T", "--validate-every", "1k", "--window", "1k",
                sentence="--validate-every 1,000: makes 1,000,000,000 validations of --activations 1,000,000,000,000",
            ),
        }),
        "validate_rows": count("--validate-rows"),
        "log_every": count("--log-every"),
        "window": count("--window", {CONTRADICTION: ("2k", "--window 2,000: is longer than --activations 1,000")}),
        "snapshots": count("--snapshots", {ZERO: ("0", None), HUGE: ("1000000000", "give at most 10,000")}),
        "eval_noise": flag("--eval-noise", refused(
            "--variant", "baseline", "--eval-noise", sentence="--eval-noise: has no effect without a run whose variant"
        )),
        "checkpoint_minutes": number("--checkpoint-minutes", {ZERO: ("0", None)}),
        "log": list_rows(choice("--log"), "--log", "tensorboard"),
        "data_seed": count("--data-seed", SEED),
        "data_seeds": {
            **list_rows(count("--data-seeds", SEED), "--data-seeds", "5"),
            NO_RIGHTS: refused(
                "--data-seeds", "0,1", "--data-seed", "3", sentence="--data-seeds and --data-seed exclude each other"
            ),
            WRONG_KIND: refused(
                "--data-seeds", "0,1", "--overwrite", sentence="--overwrite: replaces a single experiment, not those of"
            ),
            NEGATIVE: refused(
                "--data-seeds", "0,1", "--follow", sentence="--data-seeds and --follow exclude each other"
            ),
        },
        "follow": flag("--follow", refused(
            "--activations", "1M", "--follow", sentence="--activations 1,000,000: --follow reads each row once"
        )),
        "mix_windows": {
            **count("--mix-windows", {
                HUGE: ("1e7", "'1e7' is too much; give at most 1,000,000"),
                CONTRADICTION: ("4", "--mix-windows: has no effect without --follow; leave it out"),
            }),
            NO_RIGHTS: works("--follow", "--mix-windows", "1"),
        },
        "device": choice("--device"),
        "overwrite": flag("--overwrite", refused("--resume", "{runs}", "--overwrite", alone=True,
            sentence="--resume and --overwrite exclude each other")),
        "skip_damaged": flag("--skip-damaged", refused(
            "--follow", "--skip-damaged", sentence="--skip-damaged and --follow exclude each other"
        )),
        "show": flag("--show"),
        "as_json": flag("--json"),
    },
    trial="--show",
)  # fmt: skip


def test_every_train_option_has_a_case_of_each_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert not TABLE.missing()
    with capsys.disabled():
        print(f"\ntrain: {len(list(TABLE.cases()))} cases of options")


@pytest.mark.parametrize(("name", "kind"), TABLE.cases())
def test_bad_train_option_values_are_refused_in_one_sentence(
    name: str, kind: Kind, places: dict[str, str], watched: Watched
) -> None:
    check(TABLE, name, kind, places, watched)
