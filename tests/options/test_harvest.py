"""Each option of `harvest` with each kind of bad value."""

from __future__ import annotations

from pathlib import Path

import pytest

from harvest.cli import main
from tests.helpers.fixture_types import Command
from tests.options.kinds import CONTRADICTION, EMPTY, HUGE, NAN, NEGATIVE, NO_RIGHTS, WRONG_KIND, WRONG_TYPE, ZERO, Kind
from tests.options.rows import (
    LONG,
    Row,
    Rows,
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
)
from tests.options.table import Table, Watched, check

LONGER = "is longer than a file's name may be"
NO_MODEL = "the model is not in the hub's cache; "
NO_DATA = "the dataset is not in the hub's cache; "
NO_TOKEN = "is not a token; give none, bos, eos or a token's number"
FEW = "the model's vocabulary has 4096 tokens; give less"
NO_NAME = "is not a valid hook name; give mlp_out, resid_post or another"
NOT_OF_FILES = "does not apply to local files; leave it out"
OF_IDS = "does not apply to a dataset of token ids; leave it out"
HALF = "--held-out: at most half of the 31 contexts (50% or 15) can be held out; give less"

NO_WORKER = "is not a worker; give its index, from 0, and their count, as in 0/8"
NO_ARRAYS = "there is no such file or folder"
OF_ARRAYS = "applies to --activations only; leave it out"
NO_MEMORY = "gives no memory by device; write 0=70GB,1=70GB,cpu=200GB"
NO_SIZE = "is not a size; write 200G, 1.5TB or 500MB"
NO_PLAN = "has no effect without --plan; leave it out"


def bandwidth(flag: str) -> Rows:
    """Rows of an option of type Bandwidth."""
    no = "is not a bandwidth; give one such as 5GB/s, 800MB/s or 25Gbit/s"
    kinds = {WRONG_TYPE: "x", EMPTY: "", ZERO: "0GB/s", NEGATIVE: "-1GB/s", HUGE: "1e30GB/s", NAN: "nan"}
    values: dict[Kind, tuple[str, str]] = {kind: (value, no) for kind, value in kinds.items()}
    return valued(flag, {**values, WRONG_KIND: ("5GB", no), CONTRADICTION: ("5GB/s", NO_PLAN)})


def of_arrays(path: str, sentence: str) -> Row:
    """Row of a harvest of arrays, which the options of the table's base do not apply to."""
    return refused("--activations", path, "--out", "{new}.zarr", sentence=sentence, alone=True)


TABLE = Table(
    main,
    [
        "--model", "demo", "--dataset", "{text}", "--tokens", "1k", "--context-size", "32", "--out", "{new}.zarr",
        "--device", "cpu",
    ],
    {
        "model": text("--model", NO_MODEL, {
            WRONG_KIND: ("{file}", "there is no such folder"), NO_RIGHTS: ("{file}/x", "there is no such folder"),
            CONTRADICTION: ("{folder}", "--model folder: neither a local directory in hub format"),
        }),
        "revision": text("--revision", "does not apply to demo, which is not on the hub; leave it out"),
        "tokens": count("--tokens", {
            HUGE: ("1000B", "more than a store can have; give fewer"),
            CONTRADICTION: ("10", "--tokens 10: not one context of 32 tokens; give more, or a smaller --context-size"),
        }),
        "dataset": text("--dataset", NO_DATA, {
            WRONG_KIND: ("{folder}/x.txt", "there is no such file or folder"),
            NO_RIGHTS: ("{file}/x", "there is no such file or folder"), CONTRADICTION: ("{store}", "--dataset {store}"),
        }),
        "dataset_config": text("--dataset-config", NOT_OF_FILES),
        "dataset_split": text("--dataset-split", "--dataset-split"),
        "text_column": text("--text-column", "of text or token ids; it has", {
            CONTRADICTION: refused("--dataset", "{ids}", "--text-column", "words", sentence="no column words of text"),
        }),
        "out": valued("--out", {
            WRONG_TYPE: ("nowhere://x", "nowhere"), EMPTY: ("", "the value is empty"), ZERO: ("0", None),
            HUGE: (LONG, LONGER), WRONG_KIND: ("{folder}", "is not an activation store; choose another --out"),
            NO_RIGHTS: ("{file}/x", "{file} is not a folder; choose another --out"),
            CONTRADICTION: ("{store}", "holds a harvest with other settings: "),
        }),
        "layers": layers("demo", 6),
        "hook": list_rows(
            valued("--hook", {
                WRONG_TYPE: ("a b", NO_NAME), ZERO: ("0", NO_NAME), NEGATIVE: ("-1", NO_NAME), HUGE: (LONG, NO_NAME),
                NAN: ("nan", "the model has no such hook at layer 0"), WRONG_KIND: ("{file}", NO_NAME),
            }),
            "--hook", "mlp_out",
        ),
        "dtype": choice("--dtype"),
        "compress": choice("--compress"),
        "context_size": count("--context-size", {
            HUGE: ("1025", "not one context of 1025 tokens"),
            CONTRADICTION: ("512", "--context-size 512: demo takes 256 at most"),
        }),
        "batch_size": count("--batch-size", {CONTRADICTION: ("1T", "are free; give less")}),
        "skip_positions": count("--skip-positions", {
            ZERO: ("0", None), CONTRADICTION: ("32", "--skip-positions 32: leaves nothing of a context of 32"),
        }),
        "prefix_token": valued("--prefix-token", {
            WRONG_TYPE: ("sep", NO_TOKEN), EMPTY: ("", NO_TOKEN), ZERO: ("0", None), NEGATIVE: ("-1", NO_TOKEN),
            HUGE: ("999999", FEW), NAN: ("nan", NO_TOKEN), WRONG_KIND: ("1.5", NO_TOKEN),
            CONTRADICTION: refused(
                "--dataset", "{ids}", "--prefix-token", "bos", sentence="give a token's number for a dataset of token"
            ),
        }),
        "separator_token": valued("--separator-token", {
            WRONG_TYPE: ("sep", NO_TOKEN), EMPTY: ("", NO_TOKEN), ZERO: ("0", None), NEGATIVE: ("-1", NO_TOKEN),
            HUGE: ("999999", FEW), NAN: ("nan", NO_TOKEN), WRONG_KIND: ("1.5", NO_TOKEN),
            CONTRADICTION: refused("--dataset", "{ids}", "--separator-token", "eos", sentence=OF_IDS),
        }),
        "special_tokens": choice("--special-tokens", {
            CONTRADICTION: refused("--dataset", "{ids}", "--special-tokens", "parse", sentence=OF_IDS),
        }),
        "held_out": count("--held-out", {
            ZERO: ("0", None), HUGE: ("60%", HALF), NAN: ("nan%", "is not a share; give a number and a percent sign"),
            WRONG_KIND: ("1.5", "is not a share; give a number and a percent sign"), CONTRADICTION: ("16", HALF),
        }),
        "processing": choice("--processing"),
        "precision": choice("--precision", {CONTRADICTION: ("tf32", "--precision tf32: only GPUs have it")}),
        "compile": choice("--compile"),
        "device": choice("--device"),
        "device_map": choice("--device-map", {
            CONTRADICTION: refused(
                "--hook", "mlp.hook_post", "--device-map", "auto",
                sentence="runs in TransformerLens with these hooks, on one device; leave it out",
            ),
        }),
        "max_memory": valued("--max-memory", {
            WRONG_TYPE: ("x", NO_MEMORY), EMPTY: ("", NO_MEMORY), ZERO: ("0=0", NO_SIZE),
            NEGATIVE: ("-1=1G", NO_MEMORY), HUGE: ("cpu=1e30", NO_SIZE), NAN: ("cpu=nan", NO_SIZE),
            WRONG_KIND: ("cpu=1G,cpu=2G", "has cpu twice"),
            CONTRADICTION: ("cpu=1G", "--max-memory: has no effect without --device-map; leave it out, or give"),
        }),
        "seed": count("--seed", {ZERO: ("0", None)}),
        "overwrite": flag("--overwrite", refused(
            "--overwrite", "--out", "{folder}", sentence="is not an activation store; choose another --out"
        )),
        "worker": valued("--worker", {
            WRONG_TYPE: ("x", NO_WORKER), EMPTY: ("", NO_WORKER), ZERO: ("0/0", NO_WORKER),
            NEGATIVE: ("-1/8", NO_WORKER), HUGE: ("0/1e30", NO_WORKER), NAN: ("nan", NO_WORKER),
            WRONG_KIND: ("3", NO_WORKER), CONTRADICTION: ("8/8", NO_WORKER),
        }),
        "keep": size("--keep", {
            NO_RIGHTS: ("1k", "--keep 1.0 kB: tokens, held-out rows and statistics take "),
            CONTRADICTION: refused(
                "--out", "memory://bucket/x.zarr", "--keep", "1G", sentence="--keep: applies to a store on a disk only"
            ),
        }),
        "activations": text("--activations", NO_ARRAYS, {
            ZERO: of_arrays("0", NO_ARRAYS), NEGATIVE: of_arrays("-1", NO_ARRAYS), NAN: of_arrays("nan", NO_ARRAYS),
            WRONG_KIND: of_arrays("{file}", "holds no arrays; give .npy"), NO_RIGHTS: of_arrays("{file}/x", NO_ARRAYS),
            CONTRADICTION: ("{file}", "has no effect with --activations; leave it out"),
        }),
        "token_ids": text("--token-ids", OF_ARRAYS, {CONTRADICTION: ("{file}", OF_ARRAYS)}),
        "documents": text("--documents", OF_ARRAYS, {CONTRADICTION: ("{file}", OF_ARRAYS)}),
        "dry_run": flag("--dry-run"),
        "as_json": flag("--json"),
        "plan": flag("--plan", refused("--plan", "--dry-run", sentence="exclude each other; give one of them")),
        "gpus": count("--gpus", {CONTRADICTION: ("8", NO_PLAN)}),
        "gpu_tflops": number("--gpu-tflops", {CONTRADICTION: ("100", NO_PLAN)}),
        "disk": bandwidth("--disk"),
        "network": bandwidth("--network"),
        "expansion": number("--expansion", {CONTRADICTION: ("8", NO_PLAN)}),
    },
    trial="--dry-run",
)  # fmt: skip


def test_every_harvest_option_has_a_case_of_each_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert not TABLE.missing()
    with capsys.disabled():
        print(f"\nharvest: {len(list(TABLE.cases()))} cases of options")


@pytest.mark.parametrize(("name", "kind"), TABLE.cases())
def test_bad_harvest_option_values_are_refused_in_one_sentence(
    name: str, kind: Kind, places: dict[str, str], watched: Watched
) -> None:
    check(TABLE, name, kind, places, watched)


def test_default_context_size_is_at_most_the_models(
    random_gpt2: Path, token_file: Path, command: Command, tmp_path: Path
) -> None:
    done = command(
        "harvest", "--model", random_gpt2, "--dataset", token_file, "--tokens", "1k", "--out", tmp_path / "s.zarr",
        "--device", "cpu", "--json", "--dry-run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert '"rows": 960' in done.stdout  # 15 contexts of 64
