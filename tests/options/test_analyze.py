"""Each option of each `analyze` command with each kind of bad value."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from analyze.cli import main
from tests.options.kinds import CONTRADICTION, EMPTY, HUGE, NAN, NEGATIVE, NO_RIGHTS, WRONG_KIND, WRONG_TYPE, ZERO, Kind
from tests.options.rows import (
    LONG,
    More,
    Row,
    Rows,
    cache,
    choice,
    count,
    flag,
    layers,
    list_rows,
    number,
    refused,
    size,
    text,
    valued,
    works,
)
from tests.options.table import Table, Watched, check, run

LONGER = "is longer than a file's name may be"
NO_RUN = "has no run; give a folder that `train --out` wrote"
NO_MODEL = "the model is not in the hub's cache; "
FEW = "held-out contexts; give at most that"

STORE = valued("--store", {
    WRONG_TYPE: ("nowhere://x", "nowhere"), EMPTY: ("", "the value is empty"), ZERO: ("0", "there is no store at 0"),
    NEGATIVE: ("-1", "there is no store at -1"), HUGE: (LONG, LONGER), NAN: ("nan", "there is no store at nan"),
    WRONG_KIND: ("{runs}", "there is no store at {runs}"), NO_RIGHTS: ("{file}/x", "{file}/x"),
})  # fmt: skip
STORE_OF_RUNS = {
    **STORE,
    CONTRADICTION: refused("--store", "{other}", sentence="{runs}/baseline: was trained on another store than {other}"),
}
SEED = count("--seed", {ZERO: ("0", None)})
DEVICE = choice("--device")
LIBRARIES = list_rows(choice("--as"), "--as", "saelens")
BOTH = "--json and --csv exclude each other; give one of them"
JSON = flag("--json", refused("--csv", "--json", sentence="--csv and --json exclude each other; give one of them"))
CSV = flag("--csv", refused("--json", "--csv", sentence=BOTH))


def runs(*base: str) -> Rows:
    """Rows of the argument RUNS; `base` has the other arguments."""
    values = {
        WRONG_TYPE: ("s3://bucket/x", "is an address; give a local path"), EMPTY: ("", "the value is empty"),
        ZERO: ("0", f"0 {NO_RUN}"), HUGE: (LONG, LONGER), NAN: ("nan", f"nan {NO_RUN}"),
        WRONG_KIND: ("{store}", f"{{store}} {NO_RUN}"), NO_RIGHTS: ("{file}/x", f"{{file}}/x {NO_RUN}"),
    }  # fmt: skip
    rows: Rows = dict.fromkeys(Kind)
    rows.update({kind: Row((*base, value), sentence, True) for kind, (value, sentence) in values.items()})
    rows[NEGATIVE] = Row((*base, "-1"), "No such option", True)
    rows[Kind.ABSENT] = Row(base, "Missing argument 'RUNS...'. Give the folders that `train --out` wrote", True)
    return rows


def out(conflict: More = None) -> Rows:
    return valued("--out", {
        WRONG_TYPE: ("s3://bucket/x", "is an address; give a local path"), EMPTY: ("", "the value is empty"),
        HUGE: (LONG, LONGER), WRONG_KIND: ("{file}", "{file} is not a folder; choose another --out"),
        NO_RIGHTS: ("{file}/x", "{file} is not a folder; choose another --out"), CONTRADICTION: conflict,
    })  # fmt: skip


def contexts(flag: str = "--contexts", more: Mapping[Kind, More] | None = None) -> Rows:
    return count(flag, {CONTRADICTION: ("11", f"{flag} 11: the store has 10 {FEW}"), **(more or {})})


def thresholds(contradict: bool) -> dict[str, Rows]:
    """Rows of the options that say which features stand out; `contradict`: with `--numbers` they have no effect."""

    def also(flag: str, value: str) -> Row | None:
        both = f"--numbers and {flag} exclude each other; give one of them"
        return refused("--numbers", "1", flag, value, sentence=both) if contradict else None

    return {
        "pillars": count("--pillars", {
            HUGE: ("1000", "--pillars: baseline has 16 features; give less"), CONTRADICTION: also("--pillars", "5"),
        }),
        "correction_norm": number("--correction-norm", {CONTRADICTION: also("--correction-norm", "0.4")}),
        "direction_cosine": number("--direction-cosine", {
            ZERO: None, NEGATIVE: ("-1.5", "'-1.5' is less than -1"), HUGE: ("1.5", "at most 1"),
            CONTRADICTION: also("--direction-cosine", "0.8"),
        }),
        "direction_ratio": number("--direction-ratio", {
            ZERO: ("0", "'0' is less than 1"), WRONG_KIND: ("0.5", "'0.5' is less than 1"),
            CONTRADICTION: also("--direction-ratio", "2"),
        }),
    }  # fmt: skip


MODEL = text("--model", NO_MODEL, {
    WRONG_KIND: ("{folder}", "--model folder: neither a local directory in hub format"),
    NO_RIGHTS: ("{file}/x", "{file}/x"),
})  # fmt: skip


def alone(rows: Rows, *base: str) -> Rows:
    """Rows of an option that the command's base already has; `base` has the other arguments."""
    rows_with_base = {
        kind: Row((*base, *row.arguments), row.sentence, True) for kind, row in rows.items() if row is not None
    }
    return {**rows, **rows_with_base}


def model(*others: str) -> Rows:
    """Rows of `--model` of a command that has `--without-model`, which the base has, and needs `others`."""
    rows = {kind: Row((*others, *row.arguments), row.sentence, True) for kind, row in MODEL.items() if row is not None}
    both = "--without-model and --model exclude each other; give one of them"
    return {**dict.fromkeys(Kind), **rows, CONTRADICTION: refused("--model", "demo", sentence=both)}


WITHOUT = flag("--without-model", refused(
    "--model", "demo", "--without-model", sentence="--without-model and --model exclude each other"
))  # fmt: skip
SKIP = flag("--skip-damaged")
KEEP_FIRST = flag("--keep-first", refused(
    "--keep-first", sentence="--without-model and --keep-first exclude each other; give one of them"
))  # fmt: skip

ON = ("--store", "{store}", "{runs}")
PAGE = (*ON, "--out", "{new}")

TABLES = {
    "store": Table(main.commands["store"], ["--store", "{store}"], {
        "path": STORE, **cache(), "as_json": flag("--json"),
    }),
    "norms": Table(main.commands["norms"], ["--store", "{store}"], {
        "path": STORE, **cache(), "split": choice("--split"), "out": out(), "as_json": JSON, "as_csv_": CSV,
    }),
    "verify": Table(main.commands["verify"], ["--store", "{store}", "{runs}"], {
        "path": STORE, "as_json": flag("--json"),
        "paths": {
            **runs(), Kind.ABSENT: refused(alone=True, sentence="name what to check: --store, or the folders of runs"),
            NAN: refused("nan", alone=True, sentence="nan"), ZERO: refused("0", alone=True, sentence="0"),
            WRONG_KIND: refused("{folder}", alone=True, sentence="{folder}"),
            NO_RIGHTS: refused("{file}/x", alone=True, sentence="{file}/x"),
        },
    }),
    "runs": Table(main.commands["runs"], ["{runs}"], {"paths": runs(), "as_json": JSON, "as_csv_": CSV}),
    "measures": Table(main.commands["measures"], [*ON, "--device", "cpu"], {
        "path": STORE_OF_RUNS, **cache(), "skip_damaged": SKIP,
        "paths": runs("--store", "{store}"), "contexts": contexts(), "libraries": LIBRARIES, "seed": SEED,
        "device": DEVICE, "as_json": JSON, "as_csv_": CSV,
    }),
    "dictionary": Table(main.commands["dictionary"], [*ON, "--device", "cpu"], {
        "path": STORE_OF_RUNS, **cache(), "skip_damaged": SKIP,
        "paths": runs("--store", "{store}"), "contexts": contexts(), "device": DEVICE,
        **thresholds(contradict=False), "out": out(), "as_json": JSON, "as_csv_": CSV,
    }),
    "export": Table(main.commands["export"], ["--store", "{store}", "--out", "{new}", "--to", "saelens"], {
        "path": STORE, **cache(), "to": choice("--to", unknown="is not 'saelens'"), "split": choice("--split"),
        "layers": {**layers("the store"), ZERO: None}, "out": out(),
    }),
    "stability": Table(main.commands["stability"], [*ON, "--device", "cpu"], {
        "path": STORE_OF_RUNS, **cache(), "skip_damaged": SKIP,
        "paths": {
            **runs("--store", "{store}"),
            CONTRADICTION: refused("--store", "{store}", "{run}", alone=True, sentence="is one run; give two or more"),
        },
        "layers": layers("the runs"), "contexts": contexts(), "device": DEVICE, "as_json": JSON, "as_csv_": CSV,
    }),
    "patch": Table(main.commands["patch"], [*ON, "--device", "cpu", "--model", "{folder}"], {
        "path": STORE_OF_RUNS, **cache(), "skip_damaged": SKIP,
        "paths": runs("--store", "{store}"), "model": MODEL, "contexts": contexts(),
        "batch_size": count("--batch-size", {CONTRADICTION: ("11", "--batch-size 11: is more than the 10 contexts")}),
        "keep_first": flag("--keep-first"), "libraries": LIBRARIES, "seed": {**SEED, ZERO: None}, "device": DEVICE,
        "as_json": JSON, "as_csv_": CSV,
    }),
    "pareto": Table(main.commands["pareto"], [*ON, "--device", "cpu", "--without-model"], {
        "path": STORE_OF_RUNS, **cache(), "skip_damaged": SKIP,
        "paths": runs("--store", "{store}"), "model": model(*ON), "contexts": contexts(),
        "without_model": WITHOUT, "keep_first": KEEP_FIRST, "out": out(), "seed": {**SEED, ZERO: None},
        "device": DEVICE, "as_json": JSON, "as_csv_": CSV,
    }),
    "compare": Table(main.commands["compare"], [*ON, "--device", "cpu", "--without-model", "--at", "4"], {
        "path": STORE_OF_RUNS, **cache(), "skip_damaged": SKIP,
        "paths": {
            **runs("--store", "{store}"),
            CONTRADICTION: refused("--store", "{store}", "{run}", alone=True, sentence="of runs have one family"),
        },
        "l0_values": alone(list_rows(number("--at"), "--at", "4"), *ON), "layers": layers("the runs"),
        "model": model(*ON, "--at", "4"),
        "held_out": contexts("--held-out"),
        "contexts": contexts(more={CONTRADICTION: (
            "5", "--without-model and --contexts exclude each other; give one of them"
        )}),
        "without_model": WITHOUT, "keep_first": KEEP_FIRST, "seed": {**SEED, ZERO: None},
        "device": DEVICE, "as_json": JSON, "as_csv_": CSV,
    }),
    "report": Table(main.commands["report"], [*PAGE, "--device", "cpu", "--without-model"], {
        "path": STORE_OF_RUNS, **cache(), "skip_damaged": SKIP,
        "paths": runs("--store", "{store}", "--out", "{new}"), "model": model(*PAGE),
        "out": out(), "held_out": contexts("--held-out"),
        "contexts_with_model": contexts(more={CONTRADICTION: (
            "5", "--without-model and --contexts exclude each other; give one of them"
        )}),
        "snapshot_contexts": count("--snapshot-contexts", {
            ZERO: None, CONTRADICTION: (
                "5", "--without-model and --snapshot-contexts exclude each other; give one of them"
            ),
            WRONG_KIND: refused(*PAGE, "--snapshot-contexts", "11", sentence=f"11: the store has 10 {FEW}", alone=True),
        }),
        "features": count("--features", {ZERO: None, HUGE: ("1M", "is too much; give at most 10,000")}),
        "keep_measured": flag("--keep-measured"), "without_model": WITHOUT, "keep_first": KEEP_FIRST,
        **thresholds(contradict=False), "seed": {**SEED, ZERO: None}, "device": DEVICE,
    }),
    "features": Table(main.commands["features"], [*PAGE, "--device", "cpu", "--without-model"], {
        "path": STORE_OF_RUNS, **cache(), "skip_damaged": SKIP,
        "paths": runs("--store", "{store}", "--out", "{new}"), "model": model(*PAGE),
        "out": out(), "layers": {**layers("the runs"), ZERO: None},
        "n_features": count("--features", {
            CONTRADICTION: refused("--features", "2", "--numbers", "1", sentence="--features and --numbers exclude"),
        }),
        "numbers": list_rows(
            count("--numbers", {ZERO: None, HUGE: ("1000", "--numbers: baseline has 16 features; give less")}),
            "--numbers", "3",
        ),
        "size_limit": size("--size-limit", {
            CONTRADICTION: ("1k", "--size-limit: 64 features may take"),
        }),
        "ablate": count("--ablate", {
            ZERO: None, CONTRADICTION: ("1", "--without-model and --ablate exclude each other; give one of them"),
        }),
        "text": {**dict.fromkeys(Kind), **{
            kind: row for kind, row in text("--text", "", {}).items() if kind in (WRONG_TYPE, EMPTY, Kind.ABSENT)
        }, CONTRADICTION: refused("--text", "once", sentence="--without-model and --text exclude each other")},
        "to": choice("--to", {
            CONTRADICTION: refused("--to", "neuronpedia", sentence="--to neuronpedia: needs the model's tokenizer"),
        }),
        "contexts": contexts(), "without_model": WITHOUT, **thresholds(contradict=True),
        "seed": {**SEED, ZERO: None}, "device": DEVICE,
    }),
}  # fmt: skip
CASES = [(command, name, kind) for command, table in TABLES.items() for name, kind in table.cases()]


def test_every_analyze_option_has_a_case_of_each_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(TABLES) == set(main.commands)
    assert {command: table.missing() for command, table in TABLES.items()} == {command: [] for command in TABLES}
    with capsys.disabled():
        print(f"\nanalyze: {len(CASES)} cases of options")


@pytest.mark.parametrize(("command_name", "name", "kind"), CASES)
def test_bad_analyze_option_values_are_refused_in_one_sentence(
    command_name: str, name: str, kind: Kind, places: dict[str, str], watched: Watched
) -> None:
    check(TABLES[command_name], name, kind, places, watched)


@pytest.mark.parametrize(
    ("command_name", "row"),
    [
        ("measures", works("--contexts", "10")),
        ("measures", works("--as", "saelens,dictionary-learning,saebench")),
        ("stability", works("--layers", "1-")),
        ("dictionary", works("--pillars", "16", "--direction-cosine", "0")),
        ("norms", works("--split", "heldout", "--csv")),
        ("store", works("--json")),
        ("runs", works("--json")),
    ],
)
def test_analyze_option_values_at_the_edge_work(command_name: str, row: Row, places: dict[str, str]) -> None:
    done = run(TABLES[command_name], row, places, trial=False)
    assert done.exception is None, done.output
