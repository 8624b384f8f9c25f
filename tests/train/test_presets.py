"""Presets of references: their runs, what scales with the training's length, and what options override."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from data import InputError
from tests.helpers.fixture_types import Command, LocalStore
from tests.helpers.saes.reference_cases import SIZES, Reference
from train.command.grid import make_runs
from train.experiment import Run
from train.output.settings import read_experiment
from train.presets import presets, suite_value, suites
from train.variants import Sizes, settings_of

# The configuration of the reference: architecture → (option of the sparsity, its six values, clipping, α's warm-up).
TARGETS = (20, 40, 80, 160, 320, 640)
SAEBENCH: dict[str, tuple[str, tuple[float, ...], float | None, int | None]] = {
    "relu": ("l1", (0.012, 0.015, 0.02, 0.03, 0.04, 0.06), 1.0, 5000),
    "topk": ("k", TARGETS, 1.0, None),
    "batchtopk": ("k", TARGETS, 1.0, None),
    "jumprelu": ("target_l0", TARGETS, 1.0, 5000),
    "gated": ("l1", (0.012, 0.018, 0.024, 0.04, 0.06, 0.08), None, 5000),
    "p-anneal": ("l1", (0.006, 0.008, 0.01, 0.015, 0.02, 0.025), None, 5000),
    "matryoshka": ("k", TARGETS, 1.0, None),
}
STEP = 2048  # rows
# The trainers of dictionary_learning that SAEBench uses.
TRAINERS = {
    "relu": "StandardTrainerAprilUpdate", "topk": "TopKTrainer", "batchtopk": "BatchTopKTrainer",
    "jumprelu": "JumpReluTrainer", "gated": "GatedSAETrainer", "p-anneal": "PAnnealTrainer",
    "matryoshka": "MatryoshkaBatchTopKTrainer",
}  # fmt: skip


def saebench(activations: int | None = None, **options: Any) -> tuple[Run, ...]:
    return make_runs(("saebench",), options, Sizes(activations=activations, batch_size=STEP))


@pytest.mark.parametrize("variant", SAEBENCH)
def test_saebench_has_the_references_values_at_its_length(variant: str) -> None:
    option, values, clip, warmup = SAEBENCH[variant]
    runs = [run for run in saebench(500_000_000) if run.variant == variant]
    assert [getattr(run.settings, option) for run in runs] == list(values)
    for run in runs:
        assert (run.lr, run.input_scale, run.seed) == (3e-4, "mean-square", 0)
        assert (run.lr_warmup, run.lr_decay, run.clip) == (1000 * STEP, 100_000_000, clip)
        assert run.l1_warmup == (warmup and warmup * STEP)
        if option == "k":
            assert (run.settings.aux, run.settings.dead_after) == (1 / 32, 10_000_000)  # type: ignore[attr-defined]
    assert sum(run.variant == variant for run in saebench()) == 6


def test_saebench_has_seven_architectures_with_six_runs_each() -> None:
    names = [run.name for run in saebench()]
    assert len(set(names)) == 7 * 6
    assert {"saebench_topk_k=20", "saebench_jumprelu_target_l0=640", "saebench_p_anneal_l1=0.006"} <= set(names)
    assert suite_value(["saebench"], "activations") == 500_000_000
    assert suite_value(["saebench"], "batch_size") == STEP
    assert [presets()[name].variant for name in suites()["saebench"]] == list(SAEBENCH)


@pytest.mark.parametrize("variant", SAEBENCH)
def test_saebench_trains_by_the_definition_of_the_trainer_that_it_uses(variant: str) -> None:
    """The trainer's own steps are compared with ours in architectures/test_conformance.py, under these settings."""
    facts = Reference.load(f"dictionary_learning-{TRAINERS[variant]}").facts
    run = next(run for run in saebench() if run.variant == variant)
    defaults = settings_of(variant)()
    ours = {
        field.name: getattr(run.settings, field.name)
        for field in fields(run.settings)
        if field.name not in (*SIZES, "start_norm")
        and getattr(run.settings, field.name) != getattr(defaults, field.name)
    }
    theirs = {name: value for name, value in facts["settings"].items() if name not in SIZES}
    assert (ours, run.clip) == (theirs, facts["clip"])


def test_counts_of_rows_scale_with_the_length_of_the_training_and_nothing_else_does() -> None:
    lengths = {"lr_warmup", "l1_warmup", "lr_decay", "dead_after", "threshold_after", "anneal_after"}
    for long, short in zip(saebench(500_000_000), saebench(5_000_000), strict=True):
        before, after = long.to_json(), short.to_json()
        for name, value in before.items():
            assert after[name] == (value // 100 if name in lengths and value > 1 else value), name
        assert lengths & before.keys() >= {"lr_warmup", "lr_decay"}
    (*_, short) = make_runs(("saebench_topk",), {"k": (4,)}, Sizes(activations=100))
    assert (short.lr_warmup, short.lr_decay) == (1, 20)  # never 0, which would mean none


def test_options_override_a_preset_for_all_variants_or_for_one() -> None:
    runs = make_runs(
        ("saebench_topk", "saebench_jumprelu"),
        {"k": (7,), "lr": {"jumprelu": (1e-5,)}, "clip": {"topk": (0.0,)}, "target_l0": {"jumprelu": (5.0, 9.0)}},
    )  # fmt: skip
    assert [(run.name, run.lr, run.clip) for run in runs] == [
        ("saebench_topk", 3e-4, 0.0),
        ("saebench_jumprelu_target_l0=5", 1e-5, 1.0),
        ("saebench_jumprelu_target_l0=9", 1e-5, 1.0),
    ]
    assert runs[0].settings.k == 7  # type: ignore[attr-defined]


def test_presets_of_references_with_other_lengths_need_these_to_be_given(command: Command) -> None:
    both = ["--preset", "saebench_topk,normalized_1", "--show"]
    refused = command("train", *both)
    assert refused.returncode == 2
    assert "train with different --activations (500000000, 100000000); give one" in refused.stderr
    refused = command("train", *both, "--activations", "1M")
    assert "train with different --batch-size (2048, 4096); give one" in refused.stderr
    shown = command("train", *both, "--activations", "1M", "--batch-size", "512")
    assert shown.returncode == 0, shown.stderr
    content = json.loads(shown.stdout)
    assert [run["variant"] for run in content["runs"]] == ["topk"] * 6 + ["nsae"]
    assert content["runs"][-1]["lr"] == 0.0009045
    assert (content["shared"]["activations"], content["shared"]["batch_size"]) == (10**6, 512)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["saebench", "saebench_topk"], "names saebench_topk twice"),
        (["saebensh"], "--preset saebensh: there is no such preset"),
    ],
)
def test_unknown_or_repeated_presets_are_refused(names: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make_runs(names, {})


def test_all_presets_train_on_a_small_store_and_continue_by_the_same_command(
    store: LocalStore, command: Command, tmp_path: Path
) -> None:
    options = [
        "--store", store.path, "--preset", ",".join(suites()), "--k", "4", "--target-l0", "jumprelu=4",
        "--l1", "relu=0.02,0.04", "--l1", "gated=0.02", "--l1", "p-anneal=0.01", "--activations", "1k",
        "--batch-size", "64", "--layers", "0", "--validate-every", "1k",
        "--snapshots", "0", "--expansion", "2", "--device", "cpu", "--out", tmp_path / "runs",
    ]  # fmt: skip
    done = command("train", *options)
    assert done.returncode == 0, done.stderr
    record = read_experiment(tmp_path / "runs")
    assert record is not None
    assert record.settings["schedule"] == {"total": 1000, "lr_warmup": 0, "l1_warmup": 0, "lr_decay": 0}
    runs = {run["name"]: run for run in record.settings["runs"]}
    assert {name.split("_l1=")[0] for name in runs} == presets().keys()
    assert (runs["saebench_topk"]["lr_warmup"], runs["saebench_topk"]["lr_decay"]) == (4, 200)
    assert (runs["papers_jumprelu_tanh"]["l1_warmup"], runs["papers_topk"]["adam_epsilon"]) == (1000, 6.25e-10)
    assert "lr_decay" not in runs["baseline_1"]
    assert all((tmp_path / "runs" / run["name"] / "final").exists() for run in record.settings["runs"])
    resumed = command("train", "--resume", tmp_path / "runs")
    assert "is finished; nothing to do" in resumed.stderr, resumed.stderr


def test_a_file_overrides_its_preset_per_variant_and_a_preset_on_the_command_line_overrides_the_file(
    command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text(
        'preset = ["saebench_topk", "saebench_relu"]\nactivations = "10M"\nlr = 1e-3\n'
        '[topk]\nk = [5, 6]\nlr_warmup = "2M"\n[relu]\nl1 = 0.5\n'
    )
    shown = command("train", "--config", file, "--show")
    assert shown.returncode == 0, shown.stderr
    topk, _, relu = json.loads(shown.stdout)["runs"]
    assert (topk["name"], topk["k"], topk["lr_warmup"]) == ("saebench_topk_k=5", 5, 2_000_000)
    assert (relu["name"], relu["l1"], relu["lr_warmup"], relu["lr"]) == ("saebench_relu", 0.5, 40_960, 1e-3)
    shown = command("train", "--config", file, "--preset", "saebench_topk", "--k", "9", "--show")
    assert shown.returncode == 0, shown.stderr
    content = json.loads(shown.stdout)
    (run,) = content["runs"]
    assert (run["k"], run["lr"], content["shared"]["lr_warmup"]) == (9, 3e-4, 40_960)
