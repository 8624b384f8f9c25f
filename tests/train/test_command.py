"""The command `train`: what its options do, what it refuses and prints, and what it does not import."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.helpers.fixture_types import Command, LocalStore, MakeStore
from tests.helpers.trainings import SHORT, SMALL, WIDTHS, records
from train import load_sae
from train.output.settings import read_experiment


def test_finished_experiment_is_unchanged_and_other_settings_are_refused_by_name(
    store: LocalStore, trained: Path, command: Command, tmp_path: Path
) -> None:
    trained = shutil.copytree(trained, tmp_path / "runs")
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
    assert "store (the experiment has " in refused.stderr


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
    "options",
    [
        ["--l1-power", "0,1", "--variant", "baseline"],
        ["--input-scale", "none,mean-norm", "--variant", "baseline"],
        ["--norm", "store", "--variant", "nsae"],
        ["--norm", "sample", "--variant", "nsae"],
        ["--l2", "sum", "--variant", "nsae,baseline"],
        ["--init", "code", "--variant", "nsae,baseline"],
        ["--clip", "0.1", "--lr-warmup", "1k", "--l1-warmup", "1k", "--lr-decay", "1k", "--variant", "nsae"],
        ["--precision", "bfloat16", "--variant", "nsae,baseline"],
        ["--preset", "post"],
    ],
)
def test_training_with_each_option_has_finite_losses(
    store: LocalStore, command: Command, tmp_path: Path, options: list[str]
) -> None:
    done = command("train", "--store", store.path, *SHORT, *options, "--out", tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    for metrics in (tmp_path / "runs").glob("*/metrics.jsonl"):
        assert all(record["loss"] is not None for record in records(metrics))


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


def test_train_json_is_alone_on_stdout_and_eval_noise_shows_noisy_measures(
    store: LocalStore, command: Command, tmp_path: Path
) -> None:
    options = ["--store", store.path, "--variant", "baseline,nsae", *SHORT, "--out", tmp_path / "runs"]
    output = json.loads(command("train", *options, "--json").stdout)
    assert set(output) == {"baseline", "nsae"}
    quiet, noisy = (command("train", *options, *more).stdout.splitlines() for more in ([], ["--eval-noise"]))
    for lines, noise in ((quiet, False), (noisy, True)):
        l0 = [record["l0"] for record in output["nsae"] if record["noise"] == noise]
        assert float(lines[2].split()[3]) == pytest.approx(sum(l0) / len(l0), rel=1e-3)
    assert quiet[1] == noisy[1]


def test_leftover_partial_experiment_json_is_ignored(store: LocalStore, command: Command, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    out.mkdir()
    (out / "experiment.json.partial").write_text("{")
    assert command("train", "--store", store.path, "--variant", "nsae", *SHORT, "--out", out).returncode == 0
    assert (out / "nsae" / "final").exists()


def test_importing_train_imports_no_language_model_library() -> None:
    code = (
        "import sys, train, train.cli; import json; print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"transformer_lens", "transformers", "datasets", "tokenizers", "zarr"} & set(json.loads(loaded))


def test_finished_experiment_of_an_earlier_version_is_finished(
    trained: Path, store: LocalStore, command: Command, tmp_path: Path
) -> None:
    out = tmp_path / "earlier"
    shutil.copytree(trained, out)
    record = read_experiment(out)
    assert record is not None
    for run in record.settings["runs"]:
        run.setdefault("sigma", 0.0)  # which a baseline had then
        run.pop("adam_beta1", None)
        del run["input_mean"]
    record.write(out)
    done = command("train", "--store", store.path, "--variant", "baseline,nsae", *SMALL, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "is finished; nothing to do" in done.stderr


def test_start_of_the_authors_code_is_refused_for_architectures_that_it_lacks(
    store: LocalStore, command: Command, tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    done = command("train", "--store", store.path, "--variant", "topk,nsae", "--init", "code", *SMALL, "--out", out)
    assert done.returncode == 2
    assert "--init code: the author's code has no topk" in done.stderr
    assert not out.exists()
