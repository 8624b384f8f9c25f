"""Replicas: `--seeds` trains runs with several seeds on the same batches, `--data-seeds` on several orders of rows."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from data import InputError
from tests.helpers.fixture_types import Command, LocalStore
from tests.helpers.processes.zygote import Running, Zygote
from tests.helpers.trainings import SHORT, results
from train import train
from train.cli import main


def shown(*arguments: object) -> dict[str, Any]:
    done = show(*arguments)
    assert done.exit_code == 0, done.stderr
    settings: dict[str, Any] = json.loads(done.stdout)
    return settings


def show(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments), "--show"])


def test_seeds_makes_replicas_of_every_run_with_the_seeds_from_0() -> None:
    runs = shown("--variant", "baseline,nsae", "--l1", "nsae=1e-5,2e-5", "--seeds", "3")["runs"]
    assert [(run["name"], run["seed"]) for run in runs] == [
        *((f"baseline_seed={seed}", seed) for seed in range(3)),
        *((f"nsae_l1={l1}_seed={seed}", seed) for l1 in ("1e-05", "2e-05") for seed in range(3)),
    ]


def test_seeds_on_the_command_line_override_the_seed_of_a_file_and_the_reverse(tmp_path: Path) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text('variant = "nsae"\nseed = [7, 8]\ndata-seed = 3\n', encoding="utf-8")
    assert [run["seed"] for run in shown("--config", file, "--seeds", "2", "--data-seeds", "0,1")["runs"]] == [0, 1]
    file.write_text('variant = "nsae"\nseeds = 2\n', encoding="utf-8")
    assert [run["seed"] for run in shown("--config", file, "--seed", "7")["runs"]] == [7]


def test_data_seeds_train_one_experiment_per_order_in_a_folder_of_its_own(
    store: LocalStore, command: Command, tmp_path: Path
) -> None:
    options = ("--store", store.path, "--variant", "baseline", *SHORT)
    done = command("train", *options, "--seeds", "2", "--data-seeds", "0,3", "--out", tmp_path / "orders")
    assert done.returncode == 0, done.stderr
    names = [f"data_seed={order}/baseline_seed={seed}" for order in (0, 3) for seed in (0, 1)]
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == names
    alone = command("train", *options, "--seed", "0,1", "--data-seed", "3", "--out", tmp_path / "alone")
    assert alone.returncode == 0, alone.stderr
    assert results(tmp_path / "orders" / "data_seed=3") == results(tmp_path / "alone")
    weights = [(tmp_path / "orders" / name / "final" / "sae.safetensors").read_bytes() for name in names]
    assert len(set(weights)) == 4
    resumed = command("train", "--resume", tmp_path / "orders" / "data_seed=3")
    assert "nothing to do" in resumed.stderr


def test_python_trains_replicas_and_orders_with_the_same_arguments(store: LocalStore, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "variant": "baseline", "expansion": 2, "batch_size": 64, "activations": 128, "device": "cpu", "quiet": True,
    }  # fmt: skip
    trained = train(store, seeds=2, data_seeds=[0, 3], out=tmp_path / "runs", **settings)
    assert [(result.run.seed, result.folder.parent.name) for result in trained] == [
        (0, "data_seed=0"), (1, "data_seed=0"), (0, "data_seed=3"), (1, "data_seed=3"),
    ]  # fmt: skip
    with pytest.raises(InputError, match="--seeds and --seed exclude each other"):
        train(store, seed=1, seeds=2, out=tmp_path / "runs", **settings)


@pytest.mark.long
def test_training_of_several_orders_killed_in_each_ends_with_the_files_of_an_undisturbed_one(
    zygote: Zygote, store: LocalStore, command: Command, tmp_path: Path
) -> None:
    options = ["--variant", "nsae", "--seeds", "2", "--data-seeds", "0,3", *SHORT, "--activations", "3k"]
    often = [*options, "--checkpoint-minutes", "0.003"]
    done = command("train", "--store", store.path, "--out", tmp_path / "whole", *options)
    assert done.returncode == 0, done.stderr

    def start() -> Running:
        return zygote.start("train", "--store", store.path, "--out", tmp_path / "killed", *often, folder=tmp_path)

    for order in ("data_seed=0", "data_seed=3"):
        process, folder = start(), tmp_path / "killed" / order
        while process.poll() is None and not any(folder.glob("checkpoints/*.json")):
            time.sleep(0.005)
        process.kill()
        assert process.wait().code == -signal.SIGKILL
        assert any(folder.glob("checkpoints/*.json"))  # unfinished
    ended = start().wait()
    assert ended.code == 0, ended.stderr
    for order in ("data_seed=0", "data_seed=3"):
        assert results(tmp_path / "killed" / order) == results(tmp_path / "whole" / order)
