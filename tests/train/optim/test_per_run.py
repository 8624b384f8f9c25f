"""Warm-ups, decay, clipping and Adam's constants that differ between the runs of one experiment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data import InputError
from tests.helpers.fixture_types import LocalStore
from train import load_sae, train
from train.architectures import BaselineSAE
from train.command.grid import make_runs
from train.experiment import without_shared
from train.optim.adam import StackAdam
from train.output.run_folder import RunFolder
from train.output.settings import read_run_settings
from train.sae import Gradients

SETTINGS: dict[str, Any] = {
    "expansion": 2, "batch_size": 64, "activations": 1024, "validate_every": 1024, "layers": [0], "device": "cpu",
    "quiet": True,
}  # fmt: skip


def test_each_run_is_trained_with_its_own_schedule_clipping_and_constants(store: LocalStore, tmp_path: Path) -> None:
    by_variant: dict[str, dict[str, Any]] = {
        "topk": {"k": 4, "lr_warmup": 512, "clip": 0.1, "adam_epsilon": 1e-3, "lr_decay": 0},
        "gated": {"l1": 0.1, "l1_warmup": 1024, "lr_decay": 256, "adam_beta2": 0.9},
    }
    names = dict.fromkeys(name for settings in by_variant.values() for name in settings)
    mixed: dict[str, Any] = {
        name: {variant: by_variant[variant][name] for variant in by_variant if name in by_variant[variant]}
        for name in names
    }
    together = train(store, variant=[*by_variant], out=tmp_path / "together", **mixed, **SETTINGS)
    for result, (variant, settings) in zip(together, by_variant.items(), strict=True):
        (alone,) = train(store, variant=variant, out=tmp_path / variant, **settings, **SETTINGS)
        expected, weights = load_sae(alone.folder).tensors(), load_sae(result.folder).tensors()
        assert all(torch.equal(weights[name], expected[name]) for name in expected)
        (plain,) = train(
            store, variant=variant, out=tmp_path / f"{variant}_plain", **SETTINGS,
            **{name: value for name, value in settings.items() if name in ("k", "l1")},
        )  # fmt: skip
        assert not torch.equal(weights["W_enc"], load_sae(plain.folder).W_enc)
        recorded = read_run_settings(RunFolder(result.folder))
        assert recorded.experiment.schedule_of(recorded.run) == alone_schedule(alone.folder)


def alone_schedule(folder: Path) -> Any:
    return read_run_settings(RunFolder(folder)).experiment.schedule


@pytest.mark.parametrize("name", ["lr_warmup", "l1_warmup", "lr_decay", "clip"])
def test_value_that_all_runs_share_is_the_experiments_however_it_is_given(name: str) -> None:
    variants = ("baseline", "nsae")
    for values in ((5,), {"baseline": (5,), "nsae": (5,)}, {"": (5,)}):
        runs, shared = without_shared(make_runs((), {"variant": variants, name: values}))
        assert shared == {"lr_warmup": 0, "l1_warmup": 0, "lr_decay": 0, "clip": 0, name: 5}
        assert [getattr(run, name) for run in runs] == [None, None]
        assert name not in runs[0].to_json()
    runs, shared = without_shared(make_runs((), {"variant": variants, name: {"nsae": (5, 7)}}))
    assert shared[name] == 0
    assert [(run.name, getattr(run, name)) for run in runs] == [
        ("baseline", None), (f"nsae_{name}=5", 5), (f"nsae_{name}=7", 7)
    ]  # fmt: skip


def test_longer_warmup_of_one_variant_than_the_training_is_refused(store: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--lr-warmup 2,048: is longer than --activations 1,024"):
        train(store, variant=["baseline", "nsae"], lr_warmup={"nsae": 2048}, out=tmp_path / "runs", **SETTINGS)


def test_runs_with_a_schedule_of_their_own_are_recorded_and_read_again(store: LocalStore, tmp_path: Path) -> None:
    settings = {**SETTINGS, "variant": ["baseline", "nsae"], "lr_warmup": {"nsae": 512}, "out": tmp_path / "runs"}
    baseline, nsae = train(store, **settings)
    assert json.loads((nsae.folder / "run.json").read_text())["run"]["lr_warmup"] == 512
    assert "lr_warmup" not in json.loads((baseline.folder / "run.json").read_text())["run"]
    assert train(store, **settings) == [baseline, nsae]  # finished
    other = {**settings, "lr_warmup": {"nsae": 256}}
    with pytest.raises(InputError, match=r"nsae.lr_warmup \(the experiment has 512, the command 256\)"):
        train(store, **other)


def test_adam_with_given_constants_equals_numpy_in_float64() -> None:
    rng = np.random.default_rng(0)
    sae = BaselineSAE(1, d_model=3, d_sae=4).double()
    gradient = Gradients.allocate(1, d_model=3, d_sae=4, device=torch.device("cpu"), dtype=torch.float64)
    adam = StackAdam(sae, gradient, [0.01], beta1=0.5, beta2=0.75, epsilon=0.1)
    b, m, v = np.zeros(4), np.zeros(4), np.zeros(4)
    for t in range(1, 4):
        g = rng.normal(size=4)
        gradient.b_enc[0] = torch.from_numpy(g)
        adam.step(1.0)
        m, v = 0.5 * m + 0.5 * g, 0.75 * v + 0.25 * g**2
        b = b - 0.01 * (m / (1 - 0.5**t)) / (np.sqrt(v / (1 - 0.75**t)) + 0.1)
    assert sae.b_enc[0].numpy() == pytest.approx(b, rel=1e-12)
