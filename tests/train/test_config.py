"""Options from a TOML file or a recorded command pass the checks of the command line, and give way to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from data.store.chunks import crc32c
from train.cli import main


def show(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments), "--show"])


def shown(*arguments: str | Path) -> dict[str, Any]:
    done = show(*arguments)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def toml(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "sweep.toml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("l1-warmup = -5", "l1-warmup: '-5' is less than 0"),
        ("activations = 0", "activations: 0 is less than 1"),
        ("batch-size = 0", "batch-size: 0 is less than 1"),
        ("validate-every = 0", "validate-every: 0 is less than 1"),
        ("log-every = 0", "log-every: 0 is less than 1"),
        ("window = 0", "window: 0 is less than 1"),
        ("resample-interval = 0", "resample-interval: 0 is less than 1"),
        ("batch-size = 2.5", "batch-size: 2.5 is not a positive whole number"),
        ("batch-size = true", "batch-size: True is not a value of this option"),
        ("snapshots = 1_000_000_000", "snapshots: 1000000000 is too much; give at most 10,000"),
        ("expansion = nan", "expansion: nan is not a number; give one that is greater than 0"),
        ("clip = -1.0", "clip: '-1.0' is less than 0"),
        ("l1 = [1e-5, -1e-5]", "l1: -1e-05 is less than 0"),
        ("l1 = []", "l1: [] has an empty part"),
        ("l1 = [1e-5, 1e-5]", "has 1e-05 twice; give each once"),
        ('l1 = ""', "l1: '' has an empty part"),
        ("l1 = [true]", "l1: True is not a number"),
        ("l2 = {x = 1}", "l2: {'x': 1} is not a text; give one of mean, sum"),
        ("seed = 2020-01-01", "is not a value of this option"),
        ("init = 5", "init: 5 is not a text; give one of scaled, code"),
        ('init = "random"', "init: 'random' is not one of 'scaled', 'code'"),
        ('init = ["code"]', "init: ['code'] is a list; give one value"),
        ('no-decoder-bias = "maybe"', "no-decoder-bias: 'maybe' is neither true nor false"),
        ('store = ""', "store: the value is empty"),
        ("store = 5", "store: 5 is not a text"),
        ('out = "a\\u0000b"', "out: the value has a zero byte"),
        ('layers = "5-3"', "layers: '5-3': 5-3 is an empty range; write 3-5"),
        ("layers = [0, -1]", "give `all`, or numbers and ranges"),
        ('config = "b.toml"', "config is for the command line only"),
        ("overwrite = true", "overwrite is for the command line only"),
        ("learning-rate = 1", "`train` has no option learning-rate; see train --help"),
        ("resample_intervall = 5", "`train` has no option resample_intervall; did you mean resample-interval"),
        ("help = true", "`train` has no option help"),
        ("[train]\nl1 = 1", "`train` has no option train"),
        ("l1-warmup = 5\nl1-warmup = 6", "is not TOML: Cannot overwrite a value (at line 2, column 14)"),
        ("l1-warmup = 5\nl1_warmup = 6", "l1_warmup is given twice, with dashes and with underscores"),
        ("l1 =", "is not TOML: Invalid value (at line 1, column 5)"),
    ],
)
def test_bad_value_in_a_config_file_is_refused_as_on_the_command_line(line: str, sentence: str, tmp_path: Path) -> None:
    file = toml(tmp_path, line)
    done = show("--config", file, "--variant", "nsae")
    assert done.exit_code == 2, done.output
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"Error: Invalid value for '--config': {file}")
    assert sentence in last


def test_config_file_accepts_every_form_of_a_value(tmp_path: Path) -> None:
    file = toml(
        tmp_path,
        'variant = ["baseline", "nsae"]\nl1 = [1e-5, "2e-5"]\nseed = 3\nactivations = 1e6\nl1_warmup = "100k"\n'
        "lr-decay = 0\nno-decoder-bias = true\nlayers = [0, 2]\nclip = 1\n",
    )
    output = shown("--config", file)
    assert [(run["name"], run["l1"], run["seed"]) for run in output["runs"]] == [
        ("baseline_l1=1e-05", 1e-5, 3), ("baseline_l1=2e-05", 2e-5, 3), ("nsae_l1=1e-05", 1e-5, 3),
        ("nsae_l1=2e-05", 2e-5, 3),
    ]  # fmt: skip
    shared = output["shared"]
    assert (shared["activations"], shared["l1_warmup"], shared["lr_decay"], shared["clip"]) == (10**6, 100_000, 0, 1)
    assert (shared["layers"], shared["no_decoder_bias"]) == ("0,2", True)


def test_command_line_overrides_preset_and_variant_of_a_config_file(tmp_path: Path) -> None:
    file = toml(tmp_path, 'variant = "nsae"\nl1 = 0.5\nseed = 7\n')
    (run,) = shown("--config", file, "--l1", "0.25")["runs"]
    assert (run["variant"], run["l1"], run["seed"]) == ("nsae", 0.25, 7)
    (run,) = shown("--config", file, "--preset", "baseline_1")["runs"]
    assert (run["name"], run["l1"], run["seed"]) == ("baseline_1", 0.001073, 7)
    file = toml(tmp_path, 'preset = "post"\n')
    (run,) = shown("--config", file, "--variant", "nsae")["runs"]
    assert run["name"] == "nsae"
    both = show("--config", toml(tmp_path, 'preset = "post"\nvariant = "nsae"\n'))
    assert both.exit_code == 2
    assert "a --preset already has a variant" in both.stderr


def with_checksum(text: str) -> bytes:
    """A JSON object as `train` writes it: with the checksum of its bytes at its end."""
    body = text.removesuffix("}").encode()
    return body + b',\n  "crc32c": "%08x"\n}\n' % crc32c(body)


@pytest.mark.parametrize(
    ("recorded", "sentence"),
    [
        ('{"command": {"variant": ["nsae"], "l1_warmup": -5}}', "l1_warmup: '-5' is less than 0"),
        ('{"command": {"variant": ["nsae"], "variant": ["baseline"]}}', "the key variant is given twice"),
        ('{"command": {"variant": null}}', "variant: None is not a value"),
        ('{"command": [1, 2]}', "experiment.json is damaged: "),
        ("[]", "experiment.json is damaged: "),
        ('{"settings": {}}', "is damaged: it has no 'command'; put it back from a copy"),
        ("{", "experiment.json is damaged: "),
        ("[" * 100_000, "experiment.json is damaged: "),
        (" " * (2 << 20), "has more than 1,048,576 bytes"),
    ],
)
def test_recorded_command_is_checked_as_a_config_file_is(recorded: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "experiment.json").write_bytes(with_checksum(recorded) if recorded[:2] == '{"' else recorded.encode())
    done = show("--resume", tmp_path)
    assert done.exit_code == 2, done.output
    assert sentence in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--config", "FILE", "--resume", "FOLDER"], "--config and --resume exclude each other"),
        (["--resume", "FOLDER", "--out", "other"], "--resume and --out exclude each other"),
        (["--resume", "FOLDER", "--overwrite"], "--resume and --overwrite exclude each other"),
        (["--config", "FOLDER"], "cannot be read (Is a directory)"),
        (["--config", "FILE/x"], "cannot be read (Not a directory)"),
        (["--config", ""], "the value is empty"),
        (["--config", "/dev/zero"], "has more than 1,048,576 bytes"),
        (["--resume", "FILE"], "cannot be read (Not a directory)"),
        (["--resume", "nowhere"], "nowhere/experiment.json cannot be read (No such file or directory)"),
    ],
)
def test_unusable_config_and_resume_paths_are_named(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    file = toml(tmp_path, 'variant = "nsae"\n')
    (tmp_path / "experiment.json").write_bytes(with_checksum('{"command": {"variant": ["nsae"]}}'))
    places = {"FILE": str(file), "FOLDER": str(tmp_path), "FILE/x": f"{file}/x"}
    done = show(*[places.get(argument, argument) for argument in arguments])
    assert done.exit_code == 2, done.output
    assert sentence in done.stderr.splitlines()[-1]


def test_config_file_options_without_effect_are_refused(tmp_path: Path) -> None:
    result = show("--config", toml(tmp_path, 'variant = "nsae"\nresample-threshold = 0.5\n'))
    assert (result.exit_code, "--resample-threshold: has no effect without" in result.output) == (2, True)
    result = show("--config", toml(tmp_path, 'variant = "baseline"\nsigma = 2\n'))
    assert (result.exit_code, "--sigma: has no effect without" in result.output) == (2, True)
    shown("--config", toml(tmp_path, 'variant = "baseline"\nresample-at-most = 4\neval-noise = false\n'))


def test_config_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    assert shown("--config", toml(tmp_path, '\ufeffvariant = "nsae"\nl1 = 0.5\n'))["runs"][0]["l1"] == 0.5


def test_tables_of_variants_give_their_settings(tmp_path: Path) -> None:
    lines = ['variant = ["topk", "nsae"]', "lr = 1e-4", "[topk]", "k = [2, 3]", "[nsae]", "l1 = 1e-5", "lr = 1e-3"]
    runs = shown("--config", toml(tmp_path, "\n".join(lines)))["runs"]
    assert [(run["name"], run.get("k"), run.get("l1"), run["lr"]) for run in runs] == [
        ("topk_k=2", 2, None, 1e-4), ("topk_k=3", 3, None, 1e-4), ("nsae", None, 1e-5, 1e-3),
    ]  # fmt: skip


MIXED = """
variant = ["topk", "batchtopk", "nsae"]
lr = 1e-4
norm = "store"
seed = {nsae = 1}
[topk]
k = 20
[batchtopk]
k = 30
aux-k = 3
[nsae]
l1 = 1e-5
"""
Settings = tuple[str, int | None, float, int | None]  # name, k, lr, aux_k


@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        ([], [("topk", 20, 1e-4, 0), ("batchtopk", 30, 1e-4, 3), ("nsae", None, 1e-4, None)]),
        (["--k", "batchtopk=40"], [("topk", 20, 1e-4, 0), ("batchtopk", 40, 1e-4, 3), ("nsae", None, 1e-4, None)]),
        (["--k", "40"], [("topk", 40, 1e-4, 0), ("batchtopk", 40, 1e-4, 3), ("nsae", None, 1e-4, None)]),
        (["--lr", "nsae=1e-3"], [("topk", 20, 1e-4, 0), ("batchtopk", 30, 1e-4, 3), ("nsae", None, 1e-3, None)]),
        (["--variant", "batchtopk"], [("batchtopk", 30, 1e-4, 3)]),
        (["--variant", "topk", "--k", "5"], [("topk", 5, 1e-4, 0)]),
        (["--variant", "nsae"], [("nsae", None, 1e-4, None)]),
        (["--preset", "baseline_1"], [("baseline_1", None, 0.0006275, None)]),
    ],
)
def test_command_line_overrides_a_file_per_variant_and_narrows_it(
    arguments: list[str], runs: list[Settings], tmp_path: Path
) -> None:
    output = shown("--config", toml(tmp_path, MIXED), *arguments)
    assert [(run["name"], run.get("k"), run["lr"], run.get("aux_k")) for run in output["runs"]] == runs
    has_nsae = any(run["variant"] == "nsae" for run in output["runs"])
    assert output["shared"]["norm"] == ("store" if has_nsae else "batch")  # of no effect on the others, so left out


@pytest.mark.parametrize(
    ("text", "arguments", "sentence"),
    [
        (MIXED, ["--variant", "topk", "--l1", "1e-3"], "--l1: has no effect without a run whose variant has it"),
        (MIXED, ["--variant", "topk", "--k", "batchtopk=3"], "--k batchtopk=…: no run has this variant"),
        (MIXED, ["--variant", "topk", "--norm", "store"], "--norm: has no effect without a run whose --l1-power"),
        ("[k]\ntopk = 2\n[topk]\nk = 2", [], "[topk] k is given for topk twice; give it once"),
        ('k = "topk=2"\n[topk]\nk = 2', [], "[topk] k is given for topk twice; give it once"),
        ("[topk]\naux-k = 2\naux_k = 2", [], "[topk] aux_k is given for topk twice; give it once"),
        ("k = 2\n[k]\ntopk = 2", [], "is not TOML"),
        ("[topk]\nk = 2\nkk = 3", [], "[topk] kk: topk has no such setting; did you mean k? it takes k, aux, aux-k, "),
        ("[topk]\nsigma = 3", [], "[topk] sigma: topk has no such setting; it takes k, aux, aux-k, aux-form, "),
        (
            "[topk]\nl1-warmup = 3",
            [],
            "[topk] l1-warmup: topk has no such setting; did you mean lr-warmup? it takes k, ",
        ),
        ("[topk]\nl1 = 3", [], "[topk] l1: topk has no such setting"),
        ("[topk]\nbatch-size = 3", [], "[topk] batch-size: is the same for all runs; write it above the tables"),
        ("[topk]\nvariant = 3", [], "[topk] variant: is the same for all runs; write it above the tables"),
        ("[topk]\nconfig = 3", [], "[topk] config: is the same for all runs; write it above the tables"),
        ("[topk]\nk = {nsae = 3}", [], "[topk] k: names a variant in the table of one; give the values alone"),
        ('[topk]\nk = "nsae=3"', [], "[topk] k: names a variant in the table of one; give the values alone"),
        ('[topk]\nk = "no"', [], "[topk] k: 'no' is not a positive whole number"),
        (
            'variant = ["topk", "jumprelu"]\n[jumprelu]\ndead-after = 9',
            [],
            "--dead-after jumprelu=…: has no effect with --pre-act-loss 0; leave it out",
        ),
        (
            "k = 3\n[topk]\nk = 4",
            [],
            "--k: has no effect on runs whose variants have values of their own; leave it out",
        ),
        ("variant = {a = 1}", [], "variant: {'a': 1} is not a value of this option; give a text, a number or a list"),
        ("topk = 3", [], "topk is not an option; write a table [topk] of its settings"),
        ("[topkk]\nk = 3", [], "`train` has no option topkk; did you mean topk"),
        ("[k]\ntopkk = 3", ["--variant", "topk"], "--k topkk=…: no run has this variant; did you mean topk?"),
        ('variant = "nsae"\n[topk]\nk = 3', [], "[topk]: no run has this variant; name it in variant, or leave"),
        ('variant = "topk"\n["a.py:X"]\nk = 3', [], "[a.py:X]: no run has this variant; name it in variant, or leave"),
        ('variant = "batchtpok"', [], "--variant batchtpok: there is no such variant; did you mean batchtopk?"),
        ('preset = "baseline_11"', [], "there is no such preset; did you mean baseline_1"),
        (
            'variant = "topk"\nk = "8,topk=16"',
            [],
            "k: '8,topk=16' has values of several variants; give the option once",
        ),
    ],
)
def test_values_by_variant_that_contradict_or_mean_nothing_are_refused(
    text: str, arguments: list[str], sentence: str, tmp_path: Path
) -> None:
    named = text if "variant" in text.partition("\n[")[0] + "".join(arguments) else f'variant = "topk"\n{text}'
    done = show("--config", toml(tmp_path, named if "preset" not in text else text), *arguments)
    assert done.exit_code == 2, done.output
    assert sentence in done.stderr.splitlines()[-1]


def test_value_for_all_variants_in_a_file_gives_way_to_one_for_each_on_the_command_line(tmp_path: Path) -> None:
    (run,) = shown("--config", toml(tmp_path, 'variant = "topk"\nk = 3'), "--k", "topk=4")["runs"]
    assert run["k"] == 4


def test_command_recorded_in_steps_is_repeated_in_rows(tmp_path: Path) -> None:
    command = '"command": {"variant": ["batchtopk"], "threshold_start": {"": [3]}, "batch_size": 64}'
    (tmp_path / "experiment.json").write_bytes(with_checksum('{"settings": {"batch_size": 64}, ' + command + "}"))
    (run,) = shown("--resume", tmp_path)["runs"]
    assert run["threshold_after"] == 192


def test_table_of_a_variant_may_say_that_it_has_no_coefficient(tmp_path: Path) -> None:
    (run,) = shown("--config", toml(tmp_path, 'variant = "topk"\n[topk]\nl1 = 0'))["runs"]
    assert run["variant"] == "topk"
