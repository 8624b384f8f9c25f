"""`train` as a Python function: the same training as by the command, with the same checks."""

from __future__ import annotations

from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import pytest
import torch

from data import InputError
from tests.helpers.fixture_types import LocalStore
from tests.helpers.trainings import WIDTHS
from train import load_sae, train
from train.architectures import BaselineSAE
from train.cli import main
from train.command.options import TYPES, Options
from train.variants import all_settings


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
        ({"variant": "nsae", "l1": -1.0}, "--l1: '-1.0' is not a number; give one that is 0 or more"),
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
    own = set(Options.__dataclass_fields__) - {"settings"}
    assert arguments == own == options - all_settings().keys()
    assert set(TYPES) <= own | all_settings().keys()
    assert signature(train).parameters["store"].default is Parameter.empty


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
