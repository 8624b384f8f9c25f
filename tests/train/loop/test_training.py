"""The command `train` on real stores: files, loading, failing runs, bad input, and what it does not need."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import data.shuffle.stream
import train.loop.trainer
from data import InputError
from data.shuffle.stream import READ_AHEAD, Shard
from tests.helpers.fixture_types import Command, LocalStore, MakeStore, TrainSmall
from train import NSAE, BaselineSAE, load_sae
from train.loop import resample

pytestmark = pytest.mark.long

WIDTHS = {"blocks.0.hook_mlp_out": 16, "blocks.1.hook_mlp_out": 16}
SMALL = [
    "--expansion", "4", "--batch-size", "64", "--activations", "4k", "--validate-every", "1k", "--log-every", "512",
    "--window", "1k", "--device", "cpu",
]  # fmt: skip


@pytest.fixture
def store(make_store: MakeStore) -> LocalStore:
    return make_store(n_contexts=80, widths=WIDTHS)[0]


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def trained(store: LocalStore, train_small: TrainSmall) -> Path:
    return train_small(store, "--variant", "baseline,nsae", *SMALL)


def test_training_writes_settings_provenance_and_measures_of_each_run(store: LocalStore, trained: Path) -> None:
    for name in ("baseline", "nsae"):
        settings = json.loads((trained / name / "run.json").read_text())
        assert settings["run"]["variant"] == name
        assert settings["store"] == store.fingerprint
        assert settings["provenance"] == store.provenance
        found = records(trained / name / "metrics.jsonl")
        assert {record["hook"] for record in found} == set(WIDTHS)
        assert {record["split"] for record in found} == {"train", "heldout"}
        heldout = [record for record in found if record["split"] == "heldout"]
        assert {record["noise"] for record in heldout} == ({False, True} if name == "nsae" else {False})
        assert [r["rows"] for r in heldout if not r["noise"]][::2] == [1024, 2048, 3008, 3968]
        assert all(record["loss"] is not None and record["l0"] >= 0 for record in found)
        assert not list((trained / name).glob("checkpoints"))
    timing = records(trained / "timing.jsonl")
    assert all(0 <= record["data_wait_share"] <= 1 for record in timing)


def test_load_sae_by_hook_or_layer_gives_the_saved_tensors(trained: Path) -> None:
    sae = load_sae(trained / "nsae", layer=1)
    assert isinstance(sae, NSAE)
    tensors = load_file(trained / "nsae" / "final" / "sae.safetensors")
    assert torch.equal(sae.W_enc, tensors["W_enc"][1])
    x = torch.randn(7, 16)
    c = sae.encode(x)
    expected = torch.tanh(torch.relu((x - sae.b_dec) @ sae.W_enc.T + sae.b_enc))
    assert torch.allclose(c, expected, atol=1e-6)
    assert torch.allclose(sae(x), expected @ sae.W_dec + sae.b_dec, atol=1e-5)
    baseline = load_sae(trained / "baseline", "blocks.0.hook_mlp_out")
    assert isinstance(baseline, BaselineSAE)
    assert torch.allclose(baseline.W_dec.norm(dim=1), torch.ones(64))
    with pytest.raises(InputError, match="name one of them"):
        load_sae(trained / "baseline")
    with pytest.raises(InputError, match="has no SAE for layer 9; it has"):
        load_sae(trained / "baseline", layer=9)
    with pytest.raises(InputError, match="there is no trained SAE at"):
        load_sae(trained / "none")


def test_loaded_sae_has_gradients_by_autograd(trained: Path) -> None:
    sae = load_sae(trained / "nsae", layer=0)
    sae.requires_grad_()
    (sae(torch.randn(5, 16)) ** 2).sum().backward()
    assert all(parameter.grad is not None for parameter in sae.parameters())


def test_last_snapshot_has_the_final_weights(trained: Path) -> None:
    steps = sorted(path.name for path in (trained / "nsae" / "snapshots").iterdir())
    assert steps == ["000000016", "000000032", "000000047", "000000062"]
    last = load_sae(trained / "nsae" / "snapshots" / "000000062", layer=0)
    assert torch.equal(last.W_enc, load_sae(trained / "nsae", layer=0).W_enc)


def test_run_has_the_same_weights_alone_and_beside_other_runs_and_layers(
    store: LocalStore, trained: Path, command: Command, tmp_path: Path
) -> None:
    out = tmp_path / "alone"
    command("train", "--store", store.path, "--variant", "nsae", "--layers", "1", *SMALL, "--out", out)
    alone, beside = load_sae(out / "nsae"), load_sae(trained / "nsae", layer=1)
    assert torch.allclose(alone.W_enc, beside.W_enc, rtol=1e-4, atol=1e-6)


def test_finished_experiment_is_unchanged_and_other_settings_are_refused_by_name(
    store: LocalStore, trained: Path, command: Command
) -> None:
    same = ["--store", store.path, "--variant", "baseline,nsae", *SMALL, "--out", trained]
    before = {p: p.read_bytes() for p in trained.rglob("*") if p.is_file()}
    assert "nothing to do" in command("train", *same).stderr
    other = command("train", *same, "--lr", "0.5", "--l2", "sum")
    assert other.returncode == 2
    assert "objective.l2 (the experiment has mean, the command sum)" in other.stderr
    assert "nsae.lr (the experiment has 0.0009045, the command 0.5)" in other.stderr
    resumed = command("train", "--resume", trained)
    assert resumed.returncode == 0, resumed.stderr
    refused = command("train", "--resume", trained, "--batch-size", "32")
    assert refused.returncode == 2
    assert "batch_size (the experiment has 64, the command 32)" in refused.stderr
    assert {p: p.read_bytes() for p in trained.rglob("*") if p.is_file()} == before


def test_resume_with_another_store_is_refused(trained: Path, make_store: MakeStore, command: Command) -> None:
    other = make_store(n_contexts=80, widths=WIDTHS, seed=1, name="other.zarr")[0]
    refused = command("train", "--store", other.path, "--variant", "baseline,nsae", *SMALL, "--out", trained)
    assert refused.returncode == 2
    assert "store (there:" in refused.stderr


def test_diverged_run_is_dropped_and_the_others_continue(store: LocalStore, command: Command, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    arguments = ["--store", store.path, "--variant", "baseline", "--lr", "1e-3,1e30", *SMALL, "--out", out]
    done = command("train", *arguments, "--checkpoint-minutes", "0")
    assert done.returncode == 2
    assert "run baseline_lr=1e+30 diverged (non-finite loss) at step" in done.stderr
    assert "run baseline_lr=1e+30 diverged (non-finite loss) at step" in done.stderr
    again = command("train", *arguments)
    assert (again.returncode, "diverged (non-finite loss) at step" in again.stderr) == (2, True)
    assert "blocks.0.hook_mlp_out" in done.stderr
    assert not (out / "baseline_lr=1e+30" / "final").exists()
    good = load_sae(out / "baseline_lr=0.001", layer=0)
    assert good.W_enc.isfinite().all()
    kept = sorted((out / "baseline_lr=1e+30" / "checkpoints").iterdir())
    assert all(load_file(path / "sae.safetensors")["W_enc"].isfinite().all() for path in kept)
    lone = tmp_path / "lone"
    command("train", "--store", store.path, "--variant", "baseline", "--lr", "1e-3", *SMALL, "--out", lone)
    assert torch.allclose(good.W_enc, load_sae(lone / "baseline", layer=0).W_enc, rtol=1e-4, atol=1e-6)


def test_config_file_trains_and_command_line_overrides_it(store: LocalStore, command: Command, tmp_path: Path) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text(
        f'store = "{store.path}"\nvariant = ["baseline", "nsae"]\nl1 = [1e-3, 2e-3]\nbatch-size = 64\n'
        'expansion = 4\nactivations = "1k"\nvalidate-every = "1k"\nno-decoder-bias = true\n'
    )
    done = command("train", "--config", file, "--out", tmp_path / "runs", "--l1", "5e-3", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (tmp_path / "runs").iterdir() if p.is_dir()) == ["baseline", "nsae"]
    settings = json.loads((tmp_path / "runs" / "nsae" / "run.json").read_text())
    assert (settings["run"]["l1"], settings["batch_size"], settings["decoder_bias"]) == (5e-3, 64, False)
    assert torch.equal(load_sae(tmp_path / "runs" / "nsae", layer=0).b_dec, torch.zeros(16))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--l1-power", "0,1", "--variant", "baseline"], None),
        (["--input-scale", "none,mean-norm", "--variant", "baseline"], None),
        (["--norm", "store", "--variant", "nsae"], None),
        (["--norm", "sample", "--variant", "nsae"], None),
        (["--l2", "sum", "--variant", "nsae,baseline"], None),
        (["--init", "code", "--variant", "nsae,baseline"], None),
        (["--clip", "0.1", "--lr-warmup", "1k", "--l1-warmup", "1k", "--lr-decay", "1k", "--variant", "nsae"], None),
        (["--precision", "bfloat16", "--variant", "nsae,baseline"], None),
        (["--preset", "post"], None),
        (["--variant", "nsae", "--layers", "7"], "--layers 7: the store has no layer 7; it has 0, 1"),
        (["--variant", "nsae", "--hook", "resid_post"], "--hook resid_post: the store has no such hook"),
        (["--variant", "nsae", "--batch-size", "3k"], "--batch-size 3000: the store has 2240 training rows"),
        (["--variant", "nsae", "--activations", "10"], "--activations 10: is less than a batch of 64"),
        (["--variant", "nsae", "--expansion", "1000000000"], "needs"),
        (["--variant", "nsae", "--l1", "0"], "'0' is not a number; give one that is greater than 0"),
        (["--variant", "nsae", "--l1", "nan"], "'nan' is not a number; give one that is greater than 0"),
        (["--variant", "nsae", "--l1", "x"], "'x' is not a number; give one that is greater than 0"),
        (["--variant", "nsae", "--log", "paper"], "'paper' is not one of"),
        (["--config", "none.toml"], "none.toml cannot be read"),
    ],
)
def test_training_options_work_or_are_refused_with_one_sentence(
    store: LocalStore, command: Command, tmp_path: Path, options: list[str], message: str | None
) -> None:
    short = ["--activations", "1k", "--validate-every", "512"]
    done = command("train", "--store", store.path, *SMALL, *short, *options, "--out", tmp_path / "runs")
    if message is None:
        assert done.returncode == 0, done.stderr
        for metrics in (tmp_path / "runs").glob("*/metrics.jsonl"):
            assert all(record["loss"] is not None for record in records(metrics))
    else:
        assert done.returncode == 2
        assert message in done.stderr
        assert not (tmp_path / "runs").exists()


def test_training_on_a_missing_or_unfinished_store_is_refused(
    make_store: MakeStore, command: Command, tmp_path: Path
) -> None:
    missing = command("train", "--store", tmp_path / "none.zarr", "--variant", "nsae")
    assert missing.returncode == 2
    assert "there is no store at" in missing.stderr
    unfinished = make_store(widths=WIDTHS, windows=1, name="part.zarr")[0]
    refused = command("train", "--store", unfinished.path, "--variant", "nsae", *SMALL, "--out", tmp_path / "runs")
    assert refused.returncode == 2
    assert "is unfinished; continue the harvest" in refused.stderr
    assert "Missing" not in command("train", "--preset", "post", "--show").stderr


def test_importing_train_imports_no_language_model_library() -> None:
    code = (
        "import sys, train, train.cli; import json; print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"transformer_lens", "transformers", "datasets", "tokenizers", "zarr"} & set(json.loads(loaded))


def test_training_from_an_object_store_gives_the_same_weights(
    store: LocalStore, trained: Path, command: Command, tmp_path: Path
) -> None:
    address = f"memory://{uuid.uuid4().hex}"
    fsspec.filesystem("memory").put(str(store.path), address, recursive=True)
    out = tmp_path / "remote"
    done = command("train", "--store", address, "--variant", "baseline,nsae", *SMALL, "--out", out)
    assert done.returncode == 0, done.stderr
    assert command("train", "--resume", out).returncode == 0
    assert torch.equal(load_sae(out / "nsae", layer=0).W_enc, load_sae(trained / "nsae", layer=0).W_enc)


def test_four_runs_read_the_store_once(
    store: LocalStore, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    gather = data.shuffle.stream.gather

    def counting(shard: Shard, rows: np.ndarray, out: np.ndarray) -> None:
        read.append(out.nbytes)
        gather(shard, rows, out)

    monkeypatch.setattr(data.shuffle.stream, "gather", counting)
    amounts = []
    for variants, l1 in (("baseline", "1e-3"), ("baseline,nsae", "1e-3,2e-3")):
        out = tmp_path / variants
        done = command("train", "--store", store.path, "--variant", variants, "--l1", l1, *SMALL, "--out", out)
        assert done.returncode == 0, done.stderr
        amounts.append(sum(read))
        read.clear()
    ahead = READ_AHEAD * 64 * 2 * 16 * 2  # how much was read ahead when training ended may differ
    assert abs(amounts[0] - amounts[1]) <= ahead
    assert amounts[0] == pytest.approx(62 * 64 * 2 * 16 * 2, abs=ahead)


def test_resumed_experiment_continues_its_wandb_run(
    store: LocalStore, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[dict[str, Any]] = []

    class Dashboard:
        def log(self, measures: dict[str, float], step: int) -> None:
            pass

        def finish(self) -> None:
            pass

    def init(**given: Any) -> Dashboard:
        begun.append(given)
        return Dashboard()

    module = ModuleType("wandb")
    module.__spec__ = ModuleSpec("wandb", None)
    vars(module)["init"] = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    given = ["--store", store.path, "--variant", "nsae", *SMALL, "--log", "wandb", "--out"]
    with monkeypatch.context() as patched:
        patched.setattr(train.loop.trainer.Trainer, "_validate", lambda self, bar, stop: stop.set() or False)
        assert command("train", *given, tmp_path / "runs").returncode == 75
    assert command("train", *given, tmp_path / "runs").returncode == 0
    assert command("train", *given, tmp_path / "others").returncode == 0
    first, second, other = (one["id"] for one in begun)
    assert first == second != other
    assert {one["resume"] for one in begun} == {"allow"}


@pytest.mark.parametrize("log", ["tensorboard", "wandb"])
def test_training_logs_measures_to_dashboards(
    store: LocalStore, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: str
) -> None:
    pytest.importorskip(log, reason=f"{log} is not installed (an extra)")
    monkeypatch.setenv("WANDB_MODE", "offline")
    done = command(
        "train", "--store", store.path, "--variant", "nsae", *SMALL, "--out", tmp_path / "runs", "--log", log
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / ("nsae/tensorboard" if log == "tensorboard" else "wandb")
    assert [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size > 1000]


def test_train_json_is_alone_on_stdout_and_eval_noise_shows_noisy_measures(
    store: LocalStore, command: Command, tmp_path: Path
) -> None:
    given = ["--store", store.path, "--variant", "baseline,nsae", *SMALL, "--out", tmp_path / "runs"]
    found = json.loads(command("train", *given, "--json").stdout)
    assert set(found) == {"baseline", "nsae"}
    quiet, noisy = (command("train", *given, *more).stdout.splitlines() for more in ([], ["--eval-noise"]))
    for lines, noise in ((quiet, False), (noisy, True)):
        l0 = [record["l0"] for record in found["nsae"] if record["noise"] == noise]
        assert float(lines[2].split()[3]) == pytest.approx(sum(l0) / len(l0), rel=1e-3)
    assert quiet[1] == noisy[1]


@pytest.mark.parametrize("interval", ["2048", "1024"])
def test_no_feature_is_restarted_after_the_last_step(
    store: LocalStore, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interval: str
) -> None:
    steps: list[int] = []
    whole = resample.restart_dead_features

    def restart_dead_features(*arguments: Any, step: int, **more: Any) -> bool:
        steps.append(step)
        return whole(*arguments, step=step, **more)

    monkeypatch.setattr(train.loop.trainer, "restart_dead_features", restart_dead_features)
    done = command(
        "train", "--store", store.path, "--variant", "nsae", *SMALL, "--activations", "4096", "--resample-interval",
        interval, "--resample-window", "1k", "--resample-rows", "512", "--out", tmp_path / "runs",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert steps == list(range(int(interval) // 64, 64, int(interval) // 64))


def test_leftover_partial_experiment_json_is_ignored(
    store: LocalStore, train_small: TrainSmall, tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    out.mkdir()
    (out / "experiment.json.partial").write_text("{")
    assert (train_small(store, "--variant", "nsae", *SMALL) / "nsae" / "final").exists()
