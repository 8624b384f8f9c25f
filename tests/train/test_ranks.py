"""A training by several processes has the same files as one by a single process, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from data.errors import Stopped
from data.system.torchrun import RankPlace
from tests.helpers.fixture_types import Command, LocalStore
from tests.helpers.processes.torchrun import environments
from tests.helpers.processes.zygote import Running, Zygote
from tests.helpers.trainings import results, train_runs
from train.output.manifests import Manifests
from train.ranks.group import joined

pytestmark = pytest.mark.long

# Noise, the L0 controller, thresholds over a batch, resampling and snapshots all happen within these steps.
SETTINGS = [
    "--variant", "nsae,batchtopk", "--target-l0", "4", "--seeds", "2", "--expansion", "2", "--batch-size", "64",
    "--activations", "9k", "--validate-every", "1k", "--validate-rows", "128", "--log-every", "256", "--window", "500",
    "--resample-interval", "1k", "--resample-window", "512", "--resample-threshold", "0.3", "--resample-rows", "256",
    "--snapshots", "3", "--device", "cpu",
]  # fmt: skip
OFTEN = [*SETTINGS, "--checkpoint-minutes", "0.002"]


def start(
    zygote: Zygote, n: int, store: LocalStore, out: Path, settings: Sequence[str] = SETTINGS, **patches: float
) -> list[Running]:
    """Start `train` as n processes, with the environment that torchrun gives them."""
    return [
        zygote.start(
            "train", "--store", store.path, "--out", out, *settings, folder=out.parent,
            patches={f"train.ranks.group.{name}": value for name, value in patches.items()},
            environment=environment,
        )
        for environment in (environments(n) if n > 1 else [None])
    ]  # fmt: skip


def wait_for_checkpoint(out: Path, processes: Sequence[Running], after: str = "") -> None:
    """Wait for a checkpoint later than `after`."""
    while all(process.poll() is None for process in processes):
        names = Manifests(out / "checkpoints").names()
        if names and names[-1] > after:
            return
        time.sleep(0.005)
    raise AssertionError([process.printed() for process in processes])


@pytest.fixture(scope="module")
def alone(store: LocalStore, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_runs(command, store, tmp_path_factory.mktemp("runs") / "alone", SETTINGS)


def test_two_ranks_write_the_files_of_one_process(
    zygote: Zygote, store: LocalStore, alone: Path, tmp_path: Path
) -> None:
    out = tmp_path / "two"
    first, second = (rank.wait() for rank in start(zygote, 2, store, out))
    assert (first.code, second.code) == (0, 0), first.stderr + second.stderr
    assert results(out) == results(alone)
    records = [json.loads((folder / "experiment.json").read_bytes()) for folder in (alone, out)]
    assert records[0]["settings"] == records[1]["settings"]
    assert "held-out" in first.stdout
    assert second.stdout == second.stderr == ""  # only rank 0 reports


def test_two_nodes_divide_a_sweep_in_one_layer_and_write_the_files_of_one_process(
    zygote: Zygote, store: LocalStore, command: Command, tmp_path: Path
) -> None:
    sweep = [
        "--layers", "0", "--variant", "nsae", "--l1", "1e-4,1e-3,1e-2", "--expansion", "2", "--batch-size", "64",
        "--activations", "1k", "--validate-every", "512", "--log-every", "128", "--device", "cpu",
    ]  # fmt: skip
    out = tmp_path / "two"
    launched = (environments(2)[0]["MASTER_PORT"], "train", "--store", store.path, "--out", out, *sweep)
    agent = "tests.helpers.processes.torchrun:launch_node"
    nodes = [node.wait() for node in [zygote.start(agent, *launched, folder=tmp_path) for _ in range(2)]]
    assert [node.code for node in nodes] == [0, 0], [node.stderr for node in nodes]
    assert sorted(node.stdout.count("held-out") for node in nodes) == [0, 1]  # only rank 0 reports
    assert results(out) == results(train_runs(command, store, tmp_path / "alone", sweep))


def test_training_continues_on_another_number_of_ranks_after_signals(
    zygote: Zygote, store: LocalStore, alone: Path, tmp_path: Path
) -> None:
    out, newest = tmp_path / "stopped", ""
    for n, number, codes in ((1, signal.SIGTERM, [75]), (2, signal.SIGINT, [75, 130])):
        ranks = start(zygote, n, store, out, OFTEN)
        wait_for_checkpoint(out, ranks, newest)
        ranks[-1].kill(number)
        ended = [rank.wait() for rank in ranks]
        assert [rank.code for rank in ended] == codes, [rank.stderr for rank in ended]
        assert all("the same command continues" in rank.stderr for rank in ended)
        assert "Traceback" not in "".join(rank.stderr for rank in ended)
        newest = Manifests(out / "checkpoints").names()[-1]
    (last,) = start(zygote, 1, store, out)
    assert last.wait().code == 0
    assert results(out) == results(alone)


def test_run_that_diverges_on_one_rank_is_dropped_on_all(
    zygote: Zygote, store: LocalStore, command: Command, tmp_path: Path
) -> None:
    settings = [
        "--variant", "baseline,nsae", "--lr", "baseline=1e-3,1e30", "--lr", "nsae=1e-3", "--expansion", "2",
        "--batch-size", "64", "--activations", "1k", "--validate-every", "512", "--log-every", "128", "--device", "cpu",
    ]  # fmt: skip
    one, two = tmp_path / "one", tmp_path / "two"
    done = command("train", "--store", store.path, "--out", one, *settings)
    first, second = (rank.wait() for rank in start(zygote, 2, store, two, settings))
    assert (done.returncode, first.code, second.code) == (2, 2, 2), first.stderr
    assert results(one) == results(two)
    assert "run baseline_lr=1e+30 diverged" in first.stderr


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (signal.SIGKILL, "because rank 1 has ended; start all ranks again"),
        (signal.SIGSTOP, "because rank 1 has not answered for 2 seconds; start all ranks again"),
    ],
)
def test_rank_that_dies_or_hangs_is_named(
    zygote: Zygote, store: LocalStore, tmp_path: Path, number: int, sentence: str
) -> None:
    out = tmp_path / "runs"
    ranks = start(zygote, 2, store, out, OFTEN, HANG_SECONDS=2.0)
    wait_for_checkpoint(out, ranks)
    ranks[1].kill(number)
    ended = ranks[0].wait()
    ranks[1].kill()
    ranks[1].wait()
    assert ended.code == 75, ended.stderr
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr


def test_rank_that_ended_before_a_message_begins_is_named(zygote: Zygote, tmp_path: Path) -> None:
    name = f"{__name__}:gather_from_a_rank_that_ends"
    ended = [rank.wait() for rank in [zygote.start(name, folder=tmp_path, environment=e) for e in environments(3)]]
    assert ended[0].stdout == "stopped\n", ended[0].stderr
    assert ended[0].stderr == "rank 0 stops, because rank 1 has ended; start all ranks again\n"


def gather_from_a_rank_that_ends() -> None:
    """Called by each of three ranks; rank 1 ends after it has connected."""
    place = RankPlace.from_environment()
    with joined(place) as ranks:
        if place.rank == 1:
            os._exit(0)
        time.sleep(0.3)  # until the connection is closed
        if place.rank == 0:
            with pytest.raises(Stopped):
                ranks.gather(place.rank)
            print("stopped")


def test_torchrun_restarts_the_ranks_from_the_last_checkpoint_after_a_kill(
    zygote: Zygote, store: LocalStore, alone: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    arguments = (2, 1, "train", "--store", store.path, "--out", out, *OFTEN)
    torchrun = zygote.start("tests.helpers.processes.torchrun:launch", *arguments, folder=tmp_path)
    wait_for_checkpoint(out, [torchrun])
    (_, last) = children(torchrun.pid)
    os.kill(last, signal.SIGKILL)
    ended = torchrun.wait()
    assert ended.code == 0, ended.stderr
    # torchrun names the rank whose end it sees first; if that is the other one, this one has said why it ended.
    named = ("(exitcode: -9) local_rank: 1", "because rank 1 has ended")
    assert any(text in ended.stderr for text in named), ended.stderr
    assert results(out) == results(alone)


def children(pid: int) -> list[int]:
    """List the processes that a process has started, in the order of their starts."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()]
