"""SAEs on normalised inputs, trained by the command: continued, loaded, measured, and equal at any scale of a store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file

from data import ActivationSource, Store, write_store
from tests.helpers.fixture_types import Command, LocalStore, MakeStore
from tests.helpers.trainings import records, results, train_runs
from train import load_sae
from train.cli import main
from train.step.sae_stack import SAEStack

HOOK, D, K = "blocks.0.hook_mlp_out", 12, 5
SCALES, MEANS = ("sqrt-d", "row-sqrt-d", "layer-norm"), ("none", "store")
OPTIONS = [
    "--variant", "batchtopk", "--k", str(K), "--input-scale", ",".join(SCALES), "--input-mean", ",".join(MEANS),
    "--lr", "3e-3", "--expansion", "3", "--batch-size", "64", "--activations", "1500", "--validate-every", "1k",
    "--window", "500", "--resample-interval", "600", "--resample-threshold", "0.02", "--resample-rows", "128",
    "--snapshots", "0", "--device", "cpu",
]  # fmt: skip
RUNS = [f"batchtopk_input={scale}_mean={mean}" for scale in SCALES for mean in MEANS]

Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def store(make_store_in: MakeStore, tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    return make_store_in(root=tmp_path_factory.mktemp("store"), n_contexts=80, skip=1, widths={HOOK: D})[0]


@pytest.fixture(scope="module")
def trained(store: LocalStore, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train each scale with and without the mean; returns the experiment's folder."""
    return train_runs(command, store, tmp_path_factory.mktemp("runs") / "trained", OPTIONS)


def rows(store: Store, split: Any) -> Floats:
    return np.concatenate([store.rows(HOOK, shard) for shard in store.shards(split)]).astype(np.float64)


def weights(run: Path) -> tuple[dict[str, Any], dict[str, Floats]]:
    """Return the recorded steps of the normalisation, and the tensors of the only layer."""
    file = run / "final" / "sae.safetensors"
    with safe_open(file, framework="numpy") as opened:
        form = json.loads(opened.metadata()["sae"]).get("input_form", {"centred": False, "rows": "none"})
    return form, {name: tensor[0].astype(np.float64) for name, tensor in load_file(file).items()}


def passed(run: Path, x: Floats) -> tuple[Floats, Floats, Floats]:
    """Return f, x̂, and ‖x̂‖ as the SAE sees it, by the files alone."""
    form, w = weights(run)
    offset = np.zeros_like(x) + (w["input_mean"] if form["centred"] else 0)
    scale = np.ones((len(x), 1))
    if form["rows"] == "norm":
        scale = np.linalg.norm(x - offset, axis=1, keepdims=True)
    if form["rows"] == "deviation":
        offset = offset + (x - offset).mean(axis=1, keepdims=True)
        scale = (x - offset).std(axis=1, ddof=1, keepdims=True) + 1e-5
    scale = scale * w["input_scale"]
    pre = ((x - offset) / scale - w["b_dec"]) @ w["W_enc"].T + w["b_enc"]
    f = np.where(pre > w["threshold"], pre, 0)
    seen = f @ w["W_dec"] + w["b_dec"]
    return f, seen * scale + offset, np.linalg.norm(seen, axis=1)


def test_crashed_training_continues_to_the_same_files_without_another_pass(
    trained: Path, store: LocalStore, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [str(argument) for argument in ("--store", store.path, "--out", tmp_path / "runs", *OPTIONS)]
    arguments += ["--checkpoint-minutes", "0"]  # after each step, however fast steps are
    taken, step = [0], SAEStack.step

    def crash_later(self: SAEStack, *positional: Any, **named: Any) -> Any:
        taken[0] += 1
        if taken[0] > 70:
            raise RuntimeError("crash")
        return step(self, *positional, **named)

    with monkeypatch.context() as patched:
        patched.setattr(SAEStack, "step", crash_later)
        assert isinstance(CliRunner().invoke(main, arguments).exception, RuntimeError)
    assert list(tmp_path.glob("runs/checkpoints/*.json"))
    monkeypatch.setattr("train.run.centred_mean_norm", lambda *_: pytest.fail("measured again"))
    done = command("train", *arguments)
    assert done.returncode == 0, done.stderr
    assert results(tmp_path / "runs") == results(trained)


@pytest.mark.parametrize("name", RUNS)
def test_loaded_sae_and_its_measures_have_raw_units(
    name: str, trained: Path, store: LocalStore, measured: dict[tuple[str, str], float]
) -> None:
    x = rows(store, "heldout")
    f, x_hat, seen = passed(trained / name, x)
    sae = load_sae(trained / name)
    decoded = sae(torch.from_numpy(x).float()).numpy()
    np.testing.assert_allclose(decoded, x_hat, rtol=1e-4, atol=1e-4 * np.abs(x_hat).max())
    error, norm_hat = np.square(x - x_hat).sum(axis=1), np.linalg.norm(x_hat, axis=1)
    expected = {
        "l0": (f > 0).sum(axis=1).mean(), "l1": f.sum(axis=1).mean(), "l2": error.mean() / D,
        "explained_variance": 1 - error.sum() / np.square(x - x.mean(axis=0)).sum(),
        "gamma": np.square(norm_hat).sum() / (x * x_hat).sum(),
        "suppression": norm_hat.sum() / np.linalg.norm(x, axis=1).sum(),
    }  # fmt: skip
    of_run = {measure: value for (run, measure), value in measured.items() if run == name}
    assert {measure: of_run[measure] for measure in expected} == pytest.approx(expected, rel=1e-4)
    assert of_run["l1_over_norm"] == pytest.approx(f.sum() / seen.sum(), rel=1e-4)
    (last,) = [line for line in records(trained / name / "metrics.jsonl") if line.get("split") == "heldout"][-1:]
    assert last["explained_variance"] == pytest.approx(expected["explained_variance"], abs=0.02)


@pytest.fixture(scope="module")
def measured(trained: Path, store: LocalStore, command: Command) -> dict[tuple[str, str], float]:
    done = command("analyze", "measures", "--store", store.path, trained, "--device", "cpu", "--json")
    assert done.returncode == 0, done.stderr
    lines = json.loads(done.stdout)["measures"]
    return {(li["run"], li["measure"]): li["value"] for li in lines if li["subset"] == "all" and not li["noise"]}


@pytest.mark.parametrize("name", RUNS)
def test_threshold_is_measured_on_normalised_rows(name: str, trained: Path, store: LocalStore) -> None:
    f = passed(trained / name, rows(store, "train"))[0]
    assert (f > 0).sum(axis=1).mean() == pytest.approx(K, rel=0.02)


@pytest.mark.parametrize(
    ("scale", "exact"),
    [("mean-norm", True), ("mean-square-d", True), ("row-norm", True), ("layer-norm", False), ("none", None)],
)
def test_store_times_four_gives_the_same_sae_up_to_four(
    scale: str, exact: bool | None, command: Command, tmp_path: Path
) -> None:
    """Powers of two scale without rounding; layer-norm adds 1e-5 to each row's deviation."""
    x = np.random.default_rng(0).normal(size=(1200, D)).astype(np.float32) + 1
    for factor in (1, 4):
        source = ActivationSource({HOOK: D}, 1200, [{HOOK: x * factor}], n_heldout=200)
        write_store(tmp_path / f"{factor}.zarr", source, dtype="float32", rows_per_shard=128)
        done = command(
            "train", "--store", tmp_path / f"{factor}.zarr", "--out", tmp_path / str(factor), "--variant", "baseline",
            "--input-scale", scale, "--input-mean", "store", "--l1", "0.01", "--lr", "3e-3", "--expansion", "3",
            "--batch-size", "64", "--activations", "900", "--validate-every", "900", "--snapshots", "0",
            "--device", "cpu",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    one, four = (weights(tmp_path / factor / "baseline")[1] for factor in ("1", "4"))
    np.testing.assert_array_equal(four["input_mean"], 4 * one["input_mean"])
    dataset_wide = scale.startswith("mean")
    assert four["input_scale"] == one["input_scale"] * (4 if dataset_wide else 1)
    for name in ("W_enc", "b_enc", "W_dec", "b_dec"):
        if exact:
            np.testing.assert_array_equal(four[name], one[name])
        elif exact is None:
            assert np.abs(four[name] - one[name]).max() > 1e-3
        else:
            np.testing.assert_allclose(four[name], one[name], atol=2e-3)


@pytest.mark.parametrize(
    ("width", "options", "sentence"),
    [
        (D, ("--input-mean", "store"), f"--input-mean store: all rows of {HOOK} are the same; leave its layer out"),
        (1, ("--input-scale", "layer-norm"), f"--input-scale layer-norm: the rows of {HOOK} have one entry; give"),
    ],
)
def test_rows_that_a_normalisation_makes_zero_are_refused(
    width: int, options: tuple[str, ...], sentence: str, make_store: MakeStore, command: Command, tmp_path: Path
) -> None:
    made = make_store(n_contexts=40, widths={HOOK: width}, constant=3.0)[0]
    done = command(
        "train", "--store", made.path, "--out", tmp_path / "runs", "--variant", "topk", "--k", "1", "--expansion", "4",
        "--batch-size", "64", "--activations", "1k", "--device", "cpu", *options,
    )  # fmt: skip
    assert done.returncode == 2
    assert sentence in done.stderr
