"""A harvest that keeps its store within a quarter of its size, and the training that follows it, killed and continued.

BOUNDED_KILLS sets the number of kills of each side; BOUNDED_OUT names a JSON file for the figures.
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from analyze.report.pages.compared import followed_windows
from analyze.runs.trained_run import find_runs
from benchmarks.shared.measure import machine
from data import open_store
from data.errors import RecycledError
from data.store.verify import verify
from data.store.writing.lifecycle import staging_path
from harvest.output.keep import windows_kept
from tests.helpers.processes.zygote import Running, Zygote
from tests.helpers.trainings import results

pytestmark = pytest.mark.long

KILLS = int(os.environ.get("BOUNDED_KILLS", 3))
FIGURES = os.environ.get("BOUNDED_OUT")
HARVEST = [
    "--model", "demo", "--layers", "0", "--tokens", "114688", "--held-out", "2", "--dtype", "float32", "--device",
    "cpu",
]  # fmt: skip
TRAIN = [
    "--variant", "nsae", "--follow", "--mix-windows", "1", "--expansion", "1", "--batch-size", "256", "--activations",
    "112k", "--validate-every", "32k", "--validate-rows", "512", "--input-scale", "mean-norm", "--resample-interval",
    "30k", "--resample-rows", "1k", "--log-every", "16k", "--device", "cpu",
]  # fmt: skip
# 28 windows of 16 shards; the commands look for each other more often than for users.
PATCHES = {
    "data.store.layout.MAX_ROWS_PER_SHARD": 256, "harvest.request.SHARDS_PER_WINDOW": 16,
    "harvest.output.keep.WAIT_SECONDS": 0.03, "train.loop.feed.POLL_SECONDS": 0.03,
}  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """A store, and the experiment that follows it."""

    zygote: Zygote
    store: Path
    out: Path

    def harvest(self, *more: object) -> Running:
        return self.zygote.start(
            "harvest", *HARVEST, "--out", self.store, *more, folder=self.store.parent, patches=PATCHES
        )

    def train(self, *more: object) -> Running:
        options = [*TRAIN, "--store", self.store, "--out", self.out, *more]
        return self.zygote.start("train", *options, folder=self.out.parent, patches=PATCHES)

    def wait_for_store(self, harvest: Running) -> None:
        while not (self.store / "zarr.json").exists() and harvest.poll() is None:
            time.sleep(0.02)


def pair_in(zygote: Zygote, folder: Path) -> Pair:
    return Pair(zygote, folder / "demo.zarr", folder / "run")


def done(*commands: Running) -> None:
    for command in commands:
        ended = command.wait()
        assert ended.code == 0, ended.stderr


@pytest.fixture(scope="module")
def whole(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Return a store that was harvested whole, and a training in the order of its windows afterwards."""
    zygote.preload("harvest.run", "train.run")
    pair = pair_in(zygote, tmp_path_factory.mktemp("whole"))
    done(pair.harvest())
    done(pair.train())
    return pair


def size_of(*folders: Path) -> int:
    """Return the bytes of all files in folders from which others remove files meanwhile."""
    total = 0
    for folder in folders:
        for path, _, names in os.walk(folder):
            for name in names:
                with suppress(FileNotFoundError):
                    total += os.stat(os.path.join(path, name)).st_size
    return total


@contextmanager
def peak_of(store: Path) -> Iterator[list[int]]:
    """Sample the bytes of a store and its unfinished parts; the list has the largest number."""
    peak, ended = [0], threading.Event()

    def sample() -> None:
        while not ended.wait(0.01):
            peak[0] = max(peak[0], size_of(store, staging_path(store)))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def run_with_kills(pair: Pair, keep: Sequence[str], kills: int, rng: random.Random) -> list[str]:
    """Run both sides to their end; kill each `kills` times at random moments, and start it again at once.

    Return the sides in the order of the kills that hit a running command.
    """
    hit = []
    harvest = pair.harvest(*keep)
    pair.wait_for_store(harvest)
    train = pair.train()
    left = ["harvest", "train"] * kills
    rng.shuffle(left)
    for side in left:
        time.sleep(rng.uniform(0.2, 1.0))
        if side == "harvest":
            harvest.kill()
            code = harvest.wait().code
            harvest = pair.harvest(*keep)
        else:
            train.kill()
            code = train.wait().code
            train = pair.train()
        if code == -signal.SIGKILL:
            hit.append(side)
    done(train, harvest)
    return hit


def write_figures(path: Path, pair: Pair, whole: Pair, hit: Sequence[str], keep: int, peak: int) -> None:
    """Write what the kills came to, and whether store and training equal those without a limit, as JSON."""
    store, complete = open_store(pair.store), open_store(whole.store)
    trained, expected = results(pair.out), results(whole.out)
    figures = {
        "machine": machine(), "test": Path(__file__).relative_to(Path(__file__).parents[3]).as_posix(),
        "kills of harvest": hit.count("harvest"), "kills of train": hit.count("train"),
        "whole store, bytes": size_of(whole.store), "--keep, bytes": keep, "peak, bytes": peak,
        "peak / --keep": round(peak / keep, 3), "peak / whole store": round(peak / size_of(whole.store), 3),
        "windows": complete.layout.n_windows, "windows recycled": store.recycled_windows,
        "fingerprints are equal": store.fingerprint == complete.fingerprint,
        "files of the training": len(expected), "weight files": sum(n.endswith(".safetensors") for n in expected),
        "files that differ": sorted(n for n in {*trained, *expected} if trained.get(n) != expected.get(n)),
    }  # fmt: skip
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def test_bounded_pair_that_is_killed_ends_with_the_weights_of_the_whole_store(
    whole: Pair, zygote: Zygote, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    complete = open_store(whole.store)
    keep = complete.schema.total_bytes() // 4
    assert windows_kept(keep, complete.schema) < complete.layout.n_windows / 4
    pair = pair_in(zygote, tmp_path)
    with peak_of(pair.store) as peak:
        hit = run_with_kills(pair, ["--keep", str(keep)], KILLS, random.Random(0))
    store = open_store(pair.store)
    if FIGURES:
        write_figures(Path(FIGURES), pair, whole, hit, keep, peak[0])
    assert results(pair.out) == results(whole.out)
    assert store.fingerprint == complete.fingerprint
    assert peak[0] <= keep
    assert store.recycled_windows > complete.layout.n_windows / 2
    assert [problem for problem in verify(pair.store) if problem] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo.zarr", "run"]
    hook = store.hooks[0]
    assert store.statistics(hook).mean_norm() == complete.statistics(hook).mean_norm()
    assert (store.rows(hook, 0) == complete.rows(hook, 0)).all()  # held out
    with pytest.raises(RecycledError, match=r"is recycled: `harvest --keep` removed the training rows of its first"):
        store.rows(hook, store.shards("train")[0])
    removed = f"the training rows of windows 1 to {store.recycled_windows} were removed after use"
    assert f"windows (1 to 28 of 28, 1 mixed; {removed})" in followed_windows(find_runs([pair.out]), store)
    with capsys.disabled():
        print(f" [{KILLS} kills of each side; at most {peak[0] / keep:.2f} of --keep]", end="")
    second = pair.train("--out", tmp_path / "second").wait()
    assert second.code == 2
    assert "windows were removed (harvest --keep), and only trainings that followed it can continue" in second.stderr
    assert not (tmp_path / "second").exists()


def test_harvest_and_training_say_what_they_wait_for_and_that_the_other_has_ended(
    whole: Pair, zygote: Zygote, tmp_path: Path
) -> None:
    keep = str(open_store(whole.store).schema.total_bytes() // 4)
    pair = pair_in(zygote, tmp_path)
    harvest = pair.harvest("--keep", keep)
    wait_for(harvest, "is as large as --keep allows, and no training follows it yet; start `train --store ")
    train = pair.train()
    wait_for(harvest, f"so the harvest waits whenever {pair.out} has not used the oldest windows")
    train.kill()
    train.wait()
    wait_for(harvest, f"the training {pair.out} has ended before it used the oldest windows; continue it with ")
    harvest.kill()
    harvest.wait()
    train = pair.train()
    wait_for(train, "no harvest fills ")
    train.kill()
    train.wait()


def wait_for(command: Running, text: str) -> None:
    while text not in command.printed():
        assert command.poll() is None, command.wait().stderr
        time.sleep(0.02)
