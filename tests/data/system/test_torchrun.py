"""The variables of torchrun name a process's place and GPU, or the one that is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from data.command.base import choose_device
from data.errors import InputError
from data.system.torchrun import RankPlace, local_gpu, says_first
from harvest.cli import main as harvest
from tests.helpers.fixture_types import MakeStore
from train.cli import main as train

PLACE = {"RANK": "3", "WORLD_SIZE": "4", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
ON_MACHINE = {"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
WRONG = [
    ("RANK", "", "RANK=: must be a whole number of at least 0; start the processes with torchrun"),
    ("RANK", "-1", "RANK=-1: must be a whole number of at least 0"),
    ("RANK", "4", "RANK=4: with WORLD_SIZE=4 the last rank is 3"),
    ("WORLD_SIZE", "two", "WORLD_SIZE=two: must be a whole number of at least 1"),
    ("WORLD_SIZE", "0", "WORLD_SIZE=0: must be a whole number of at least 1"),
    ("LOCAL_RANK", "x", "LOCAL_RANK=x: must be a whole number of at least 0"),
    ("LOCAL_WORLD_SIZE", "2(x2)", "LOCAL_WORLD_SIZE=2(x2): must be a whole number of at least 1"),
    ("MASTER_PORT", "tcp", "MASTER_PORT=tcp: must be a whole number of at least 0"),
]


def test_place_is_that_of_the_variables() -> None:
    assert RankPlace.of_torchrun({**PLACE, **ON_MACHINE}) == RankPlace(3, 4, on_machine=2, local_rank=1)
    assert RankPlace.of_torchrun({"RANK": "3", "WORLD_SIZE": "4"}) is None


@pytest.mark.parametrize(("name", "value", "sentence"), WRONG)
def test_variable_that_describes_no_place_is_named(name: str, value: str, sentence: str) -> None:
    with pytest.raises(InputError) as refused:
        RankPlace.of_torchrun({**PLACE, **ON_MACHINE, name: value})
    assert str(refused.value).startswith(sentence)


@pytest.fixture
def rank_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**PLACE, **ON_MACHINE, "RANK": ""}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("rank_is_empty")
def test_commands_end_with_a_sentence_if_a_variable_describes_no_place(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(n_contexts=40)[0].path
    for command, arguments in (
        (train, ["--store", str(store), "--variant", "topk", "--k", "4"]),
        (harvest, ["--model", "demo", "--tokens", "1000"]),
    ):
        result = CliRunner().invoke(command, [*arguments, "--device", "cpu", "--out", str(tmp_path / "out.zarr")])
        assert (result.exit_code, result.output.count("Error: RANK=: ")) == (2, 1), result.output
        assert not (tmp_path / "out.zarr").exists()


@pytest.mark.usefixtures("rank_is_empty")
def test_bad_option_is_named_also_if_a_variable_describes_no_place() -> None:
    result = CliRunner().invoke(train, ["--no-such-option"])
    assert result.exit_code == 2
    assert "--no-such-option" in result.output


def test_sentence_is_said_if_the_port_of_the_agent_is_no_number() -> None:
    assert says_first("no", {**PLACE, "MASTER_PORT": "tcp", "TORCHELASTIC_USE_AGENT_STORE": "True"})


def test_process_takes_the_gpu_of_its_local_rank() -> None:
    assert [local_gpu(4, {}), local_gpu(4, {"LOCAL_RANK": "3"})] == [0, 3]


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(InputError, match=r"^LOCAL_RANK=2: .* PyTorch finds 2, counted"):
        choose_device("auto")
