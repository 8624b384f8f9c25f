"""`train` as a Python function: the same training as by the command, with the same checks."""

from __future__ import annotations

import re
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch

from data import InputError
from data.command.option_values import check_values
from tests.helpers.fixture_types import LocalStore
from tests.helpers.trainings import WIDTHS
from train import load_sae, train
from train.architectures import NSAE, BaselineSAE
from train.cli import main
from train.command.options import TYPES, Options
from train.command.setting_options import setting_options
from train.command.settings import all_settings


def test_python_function_trains_the_same_weights_as_the_command(
    store: LocalStore, trained: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "variant": ["baseline", "nsae"], "expansion": 4, "batch_size": 64, "activations": "4k", "validate_every": 1000,
        "log_every": 512, "window": "1k", "device": "cpu", "out": tmp_path / "python", "quiet": True,
    }  # fmt: skip
    results = train(store.path, **settings)
    assert [result.run.name for result in results] == ["baseline", "nsae"]
    for result in results:
        name = result.run.name
        for file in ("metrics.jsonl", "final/sae.safetensors"):
            assert (result.folder / file).read_bytes() == (trained / name / file).read_bytes()
        assert result.failure is None
        assert {record["hook"] for record in result.heldout} == set(WIDTHS)
    again = train(store, **settings)  # an opened store will do
    assert again == results


def test_python_values_are_refused_as_on_the_command_line(store: LocalStore, tmp_path: Path) -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"variant": "gate"}, "--variant gate: there is no such variant"),
        ({"variant": "nsae", "l1": -1.0}, "--l1: '-1.0' is less than 0"),
        ({"variant": "nsae", "l1": [1e-5, 1e-5]}, "--l1: "),
        ({"variant": "nsae", "overwrite": "yes"}, "--overwrite: 'yes' is neither true nor false"),
        ({"variant": "nsae", "batch_size": [64]}, r"--batch-size: \[64\] is a list; give one value"),
        ({"variant": "nsae", "layers": [7]}, "--layers 7: the store has no layer 7"),
        ({"variant": "baseline", "sigma": 2.0}, "--sigma: has no effect without a run whose variant has it"),
    ]
    for settings, sentence in refused:
        with pytest.raises(InputError, match=sentence):
            train(store.path, out=tmp_path / "runs", **settings)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"variant": 3}, "--variant 3: there is no such variant; give baseline, nsae"),
        ({"variant": ["topk", 3]}, "--variant: 3 is not a text"),
        ({"variant": b"topk"}, "--variant: b'topk' is not a value of this option"),
        ({"variant": {"topk"}}, "--variant: {'topk'} is not a value of this option; give a text, a number or a list"),
        ({"variant": ()}, "--variant: [] has an empty part"),
        ({"variant": "topk,nsea"}, "--variant nsea: there is no such variant; did you mean nsae?"),
        ({"variant": "topk", "k": {"topkk": 3}}, "--k topkk=…: no run has this variant; did you mean topk?"),
        ({"variant": "topk", "k": {3: 3}}, "--k: {3: 3} is not a table of values by variant"),
        ({"variant": "topk", "k": "3,topk=4"}, "--k: '3,topk=4' has values of several variants; give the option once"),
        ({"variant": "topk", "k": np.float32(2.5)}, "--k: '2.5' is not a positive whole number"),
        ({"variant": "nsae", "l1": np.zeros((2, 2))}, "--l1: [0.0, 0.0] is not a number"),
        ({"variant": "relu", "subtract_bias": "maybe"}, "--subtract-bias: 'maybe' is neither true nor false; write"),
        (
            {"variant": "relu", "subtract_bias": 2},
            "--subtract-bias: '2' is neither true nor false; write",
        ),
        ({"variant": "nsae", "no_decoder_bias": 1}, "--no-decoder-bias: 1 is neither true nor false; write one of"),
        ({"variant": "topk", "l2": "sum"}, "--l2: has no effect without a run whose variant is baseline or nsae"),
        (
            {"variant": "topk,nsae", "l1_warmup": {"topk": 9}},
            "--l1-warmup topk=…: topk has no such setting; it belongs to baseline",
        ),
        (
            {"variant": "nsae", "l1": 0, "l1_warmup": 9},
            "--l1-warmup: has no effect without a run whose --l1 is",
        ),
    ],
)
def test_python_values_of_other_types_are_refused_in_a_sentence(
    settings: dict[str, Any], sentence: str, store: LocalStore, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        train(store.path, out=tmp_path / "runs", device="cpu", **settings)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int64(3), 3), (np.float32(0.5), 0.5), (np.bool_(True), True), (np.array([1, 2]), [1, 2]), ((1, 2), [1, 2]),
        (np.array(["topk", "nsae"]), ["topk", "nsae"]), (torch.tensor(2.5), 2.5), (range(2), [0, 1]),
        ({"topk": np.arange(2)}, {"topk": [0, 1]}), ([np.int64(1), 2], [1, 2]), (Path("a") / "b", "a/b"),
    ],
)  # fmt: skip
def test_values_of_numpy_and_pytorch_are_those_of_python(value: Any, plain: Any) -> None:
    checked: dict[str, Any] = {}

    class Recorder(click.ParamType[Any]):
        takes_tables = takes_truth_values = True

        def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
            checked["value"] = value
            return value

    check_values(train, {"variant": Recorder()}, {"variant": value})
    assert checked["value"] == plain
    assert type(checked["value"]) is type(plain)


def test_diverged_run_is_returned_with_its_failure(store: LocalStore, tmp_path: Path) -> None:
    good, bad = train(
        store.path, variant="baseline", lr=[1e-3, 1e30], layers=[0], expansion=4, batch_size=64, activations=2048,
        device="cpu", out=tmp_path / "runs", quiet=True,
    )  # fmt: skip
    assert good.failure is None
    assert bad.failure is not None
    assert "run baseline_lr=1e+30 diverged (non-finite loss) at step" in str(bad.describe_failure())


def test_options_of_the_function_the_command_and_the_checks_are_the_same() -> None:
    arguments = {name for name in signature(train).parameters if name not in ("quiet", "settings")}
    options = {str(param.name) for param in main.params} - {"config", "resume", "show", "as_json"}
    fields = set(Options.__dataclass_fields__) - {"settings"}
    assert arguments == fields == options - all_settings().keys()
    assert set(TYPES) <= fields | all_settings().keys()
    assert signature(train).parameters["store"].default is Parameter.empty


@pytest.mark.parametrize(
    ("name", "defaults"),
    [
        ("adam_beta1", "[default: 0.9; default for gated, jumprelu: 0]"), ("adam_beta2", "[default: 0.999]"),
        ("l1_power", "[default for baseline: 0; default for nsae: 2]"), ("p_updates", "[for p-anneal]"),
    ],
)  # fmt: skip
def test_help_of_a_setting_has_its_defaults_by_variant(name: str, defaults: str) -> None:
    assert next(str(option.help) for option in setting_options() if option.name == name).endswith(defaults)


def test_loaded_sae_knows_where_it_comes_from(store: LocalStore, trained: Path) -> None:
    sae = load_sae(trained / "nsae", layer=1)
    assert sae.source is not None
    assert (sae.source.run, sae.source.hook, sae.source.layer) == ("nsae", "blocks.1.hook_mlp_out", 1)
    assert (sae.source.model, sae.source.store) == ("made-up", store.fingerprint)
    assert sae.source.settings is not None
    assert sae.source.settings.run.l1 == 0.00004065
    source = "run='nsae', hook='blocks.1.hook_mlp_out'"
    assert repr(sae) == f"NSAE(d_model=16, d_sae=64, input_scale=1, sigma=1, {source})"
    assert repr(BaselineSAE(2, d_model=16, d_sae=64)) == "BaselineSAE(stack=(2,), d_model=16, d_sae=64)"
    assert torch.equal(sae(torch.ones(2, 16)), sae.decode(sae.encode(torch.ones(2, 16))))


def test_package_exports_the_classes_of_baseline_and_nsae() -> None:
    import train as package

    assert (package.NSAE, package.BaselineSAE) == (NSAE, BaselineSAE)
