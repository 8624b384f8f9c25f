"""Several processes per SAE, which split each batch, train as one process does, up to rounding."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.helpers.fixture_types import Command, LocalStore
from tests.helpers.processes.killing import Killed, kill_at
from tests.helpers.processes.zygote import Zygote
from tests.helpers.trainings import records, results, train_runs
from tests.train.test_ranks import children, start, wait_for_checkpoint
from train.loop.trainer import Trainer
from train.output.manifests import Manifests

pytestmark = pytest.mark.long

# Noise, the L0 controller, thresholds over a batch, resampling and snapshots all happen within these steps.
SETTINGS = [
    "--target-l0", "4", "--layers", "0", "--expansion", "2", "--batch-size", "128", "--activations", "2k",
    "--validate-every", "1k", "--validate-rows", "128", "--log-every", "512", "--window", "500", "--resample-interval",
    "1k", "--resample-window", "512", "--resample-threshold", "0.3", "--resample-rows", "256", "--snapshots", "2",
    "--device", "cpu", "--variant",
]  # fmt: skip
LONG = ["--activations", "20k", "--checkpoint-minutes", "0.002"]  # so that ranks can be stopped between two checkpoints
REL, ABS = 1e-4, 1e-6  # of Adam's steps on float32 sums in another order


def assert_close(out: Path, expected: Path) -> None:
    """Check that two experiments have the same files, and equal weights, states and measures up to rounding."""
    assert results(out).keys() == results(expected).keys()
    for path in sorted(expected.rglob("*.safetensors")):
        tensors, theirs = load_file(path), load_file(out / path.relative_to(expected))
        for name, tensor in tensors.items():
            scale = float(tensor.abs().max())
            assert theirs[name].numpy() == pytest.approx(tensor.numpy(), abs=REL * scale), (path, name)
    for path in sorted(expected.rglob("metrics.jsonl")):
        for line, other in zip(records(path), records(out / path.relative_to(expected)), strict=True):
            assert other == approximate(line), path


def approximate(record: dict[str, Any]) -> dict[str, Any]:
    return {
        name: pytest.approx(value, rel=REL, abs=ABS) if isinstance(value, float) else value
        for name, value in record.items()
    }


def test_ranks_of_torchrun_that_split_batches_write_the_files_of_one_process(
    zygote: Zygote, store: LocalStore, command: Command, tmp_path: Path
) -> None:
    alone = train_runs(command, store, tmp_path / "alone", [*SETTINGS, "nsae,batchtopk"])
    out = tmp_path / "four"  # two ranks for each of two SAEs
    arguments = (4, 0, "train", "--store", store.path, "--out", out, *SETTINGS, "nsae,batchtopk")
    ended = zygote.run("tests.helpers.processes.torchrun:launch", *arguments, folder=tmp_path)
    assert ended.code == 0, ended.stderr
    assert ended.stdout.count("held-out") == 1  # only rank 0 reports
    assert_close(out, alone)
    written = [json.loads((folder / "experiment.json").read_bytes()) for folder in (alone, out)]
    assert written[0]["settings"] == written[1]["settings"]


@pytest.fixture(scope="module")
def alone(store: LocalStore, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_runs(command, store, tmp_path_factory.mktemp("runs") / "alone", [*SETTINGS, "batchtopk", *LONG])


def test_training_of_an_sae_continues_on_another_number_of_ranks(
    zygote: Zygote, store: LocalStore, command: Command, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, out = [*SETTINGS, "batchtopk", *LONG], tmp_path / "stopped"
    kill_at(monkeypatch, Trainer, "_step", 30)
    with pytest.raises(Killed):
        command("train", "--store", store.path, "--out", out, *settings, "--checkpoint-minutes", "0")
    (_, newest) = Manifests(out / "checkpoints").names()
    ranks = start(zygote, 3, store, out, settings)
    wait_for_checkpoint(out, ranks, newest)
    ranks[2].kill(signal.SIGTERM)
    ended = [rank.wait() for rank in ranks]
    assert [rank.code for rank in ended] == [75] * 3, [rank.stderr for rank in ended]
    assert not (out / "batchtopk_target_l0=4" / "final").exists()
    assert_close(train_runs(command, store, out, settings), alone)


def test_torchrun_restarts_ranks_that_split_batches_after_a_kill(
    zygote: Zygote, store: LocalStore, alone: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    arguments = (3, 1, "train", "--store", store.path, "--out", out, *SETTINGS, "batchtopk", *LONG)
    torchrun = zygote.start("tests.helpers.processes.torchrun:launch", *arguments, folder=tmp_path)
    wait_for_checkpoint(out, [torchrun])
    os.kill(children(torchrun.pid)[1], signal.SIGKILL)
    ended = torchrun.wait()
    assert ended.code == 0, ended.stderr
    assert "(exitcode: -9) local_rank: 1" in ended.stderr, ended.stderr
    assert_close(out, alone)


def test_rank_of_three_that_is_killed_is_named_by_those_that_split_batches_with_it(
    zygote: Zygote, store: LocalStore, tmp_path: Path
) -> None:
    ranks = start(zygote, 3, store, tmp_path / "runs", [*SETTINGS, "batchtopk", *LONG])
    wait_for_checkpoint(tmp_path / "runs", ranks)
    ranks[1].kill(signal.SIGKILL)
    ended = [rank.wait() for rank in ranks]
    assert [rank.code for rank in ended] == [75, -signal.SIGKILL, 75], [rank.stderr for rank in ended]
    assert "because rank 1 has ended; start all ranks again" in ended[0].stderr
    assert re.search("because rank (1|0|0 or rank 1) has ended", ended[2].stderr)  # rank 0 may have ended meanwhile
    assert "Traceback" not in ended[0].stderr + ended[2].stderr


@pytest.mark.parametrize(
    ("variants", "n", "hanging", "witness", "names"),
    [
        ("batchtopk", 3, 2, 0, "rank 2"),
        ("batchtopk", 3, 0, 1, "rank 0( or rank 2)?"),  # rank 0 has the notes, because there is no agent of torchrun
        ("nsae,batchtopk", 4, 3, 0, "rank 3"),  # ranks 2 and 3 split batches, and rank 0 waits for rank 2
    ],
)
def test_rank_that_hangs_among_those_that_split_a_batch_is_named(
    zygote: Zygote, store: LocalStore, tmp_path: Path, variants: str, n: int, hanging: int, witness: int, names: str
) -> None:
    out = tmp_path / "runs"
    ranks = start(zygote, n, store, out, [*SETTINGS, variants, *LONG], HANG_SECONDS=6.0)
    wait_for_checkpoint(out, ranks)
    ranks[hanging].kill(signal.SIGSTOP)
    ended = ranks.pop(witness).wait()
    for rank in ranks:
        rank.kill()
        rank.wait()
    assert ended.code == 75
    assert re.search(
        rf"rank {witness} stops, because {names} has not answered for \d+ seconds; start all ranks again", ended.stderr
    )
    assert "Traceback" not in ended.stderr
