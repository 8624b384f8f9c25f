"""Bad input: one sentence that names the option and the remedy, exit code 2, no traceback, nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from data.command.layer_choice import LayerChoice
from harvest.cli import main

BASE = ["--model", "demo", "--tokens", "10k"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing option '--model'"),
        (["--model", "demo", "--tokens", "many"], "'many' is not a positive whole number; write 8, 1.5k, 100M"),
        (["--model", "demo", "--tokens", "0"], "is less than 1"),
        (["--model", "demo", "--tokens", "100"], "not one context of 256 tokens"),
        ([*BASE, "--layers", "0,6"], "--layers 0,6: demo has no layer 6; it has 0, 1, 2, 3, 4, 5"),
        ([*BASE, "--layers", "a"], "'a': give `all`, or numbers and ranges"),
        ([*BASE, "--context-size", "512"], "--context-size 512: demo takes 256 at most"),
        ([*BASE, "--skip-positions", "256"], "leaves nothing of a context of 256"),
        ([*BASE, "--hook", ","], "',' has an empty part"),
        ([*BASE, "--dataset", "/nowhere/at/all.txt"], "--dataset /nowhere/at/all.txt: there is no such file or folder"),
        ([*BASE, "--prefix-token", "sep"], "'sep' is not a token; give none, bos, eos or a token's number"),
        ([*BASE, "--prefix-token", "bos", "--context-size", "1"], "--prefix-token bos: fills a context of 1 token"),
        ([*BASE, "--separator-token", "999999"], "--separator-token 999999: the model's vocabulary has 4096 tokens"),
        ([*BASE, "--hook", "nonsense"], "--hook nonsense: the model has no such hook at layer 0"),
        ([*BASE, "--out", "/dev/null/s.zarr"], "--out /dev/null/s.zarr: /dev/null is not a folder"),
        ([*BASE, "--out", "/"], "/ cannot be a store; name a folder in it"),
        ([*BASE, "--out", "s3://"], "s3:// names no bucket or folder; write an address such as s3://bucket/gpt2.zarr"),
        ([*BASE, "--held-out", "0.05"], "'0.05' is not a share; give a number and a percent sign, such as 1%"),
        ([*BASE, "--dtype", "float8"], "'float8' is not one of"),
        ([*BASE, "--device", "cpu", "--precision", "tf32"], "--precision tf32: only GPUs have it"),
        ([*BASE, "--hook", "mlp.hook_post", "--compile", "yes"], "--compile yes: demo runs in TransformerLens"),
        (["--model", "./no-such-folder/x", "--tokens", "10k"], "--model ./no-such-folder/x: there is no such folder"),
        ([*BASE, "--device", "cuda"], "--device cuda: PyTorch finds no GPU"),
    ],
)
def test_bad_harvest_option_is_refused_with_one_sentence(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert "Traceback" not in result.output
    assert not list(tmp_path.rglob("*.zarr*"))


def test_too_little_disk_space_is_refused_with_sizes_before_the_model_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harvest.run.load", lambda *a, **k: pytest.fail("the model was loaded"))
    result = CliRunner().invoke(main, ["--model", "demo", "--tokens", "60B", "--out", str(tmp_path / "s.zarr")])
    assert result.exit_code == 2
    assert "needs" in result.output
    assert "TB" in result.output
    assert "are free" in result.output
    assert not list(tmp_path.iterdir())


def test_harvest_never_deletes_a_folder_that_is_no_store(tmp_path: Path) -> None:
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter1.txt").write_text("words")
    for more in ([], ["--overwrite"]):
        result = CliRunner().invoke(main, [*BASE, "--out", str(precious), *more])
        assert result.exit_code == 2
        assert "is not an activation store" in result.output
    assert (precious / "chapter1.txt").read_text() == "words"


def test_dry_run_prints_sizes_and_time_and_writes_nothing(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [*BASE, "--out", str(tmp_path / "s.zarr"), "--dry-run"])
    assert result.exit_code == 0, result.output
    assert "9,984 rows × 6 hooks in float16" in result.output
    assert "tokens/s" in result.output
    assert not list(tmp_path.iterdir())


def test_dry_run_of_a_large_store_measures_the_disk_and_names_the_limit(tmp_path: Path) -> None:
    options = [*BASE, "--out", str(tmp_path / "s.zarr"), "--tokens", "3M", "--dry-run", "--json"]
    result = CliRunner().invoke(main, options)
    assert result.exit_code == 0, result.output
    estimate = json.loads(result.stdout)
    slower = min(estimate["forward_tokens_per_second"], estimate["disk_tokens_per_second"])
    assert estimate["tokens_per_second"] == slower > 0
    assert estimate["seconds"] == pytest.approx(3e6 / slower, rel=1e-9)
    bytes_per_token = estimate["disk_bytes_per_second"] / estimate["disk_tokens_per_second"]
    assert bytes_per_token == pytest.approx(estimate["bytes"] / 3e6, rel=1e-9)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "layers"),
    [("all", (0, 1, 2, 3)), ("2", (2,)), ("0,3", (0, 3)), ("1-3", (1, 2, 3)), ("3,0-1", (0, 1, 3)), ("2-", (2, 3))],
)
def test_layers_option_takes_numbers_and_ranges(text: str, layers: tuple[int, ...]) -> None:
    assert LayerChoice()(text).choose(range(4), "the model") == layers


def test_open_range_of_layers_takes_the_stored_layers() -> None:
    assert LayerChoice()("2-").choose([0, 2, 5], "the store") == (2, 5)


@pytest.mark.parametrize("local_rank", [0, 1])
def test_bad_option_under_torchrun_is_reported_by_one_process_per_machine(
    local_rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torchrun = {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    for name, value in {**torchrun, "RANK": f"{2 + local_rank}", "LOCAL_RANK": f"{local_rank}"}.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(main, [*BASE, "--dtype", "float8"])
    assert result.exit_code == 2
    assert ("'float8' is not one of" in result.output) == (local_rank == 0)
    assert bool(result.output) == (local_rank == 0)
