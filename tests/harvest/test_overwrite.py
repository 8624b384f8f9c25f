"""--overwrite keeps the old store until the new one's first window is safe, through mistakes and kills."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import data.store.layout
import harvest.output.worker
import harvest.run
from data import open_store
from data.errors import InputError, Stopped
from data.store.writing.lifecycle import staging_path, worker_lock
from data.system.lock import locked
from harvest.output.worker import Worker, wait_for
from harvest.pipeline import pipeline
from harvest.run import Harvest
from tests.helpers.fixture_types import Command
from tests.helpers.processes.killing import Killed, kill_at

pytestmark = pytest.mark.long

SIZES = ("--tokens", "6k", "--context-size", "32", "--batch-size", "32", "--layers", "0", "--device", "cpu")


Start = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def harvest_to(command: Command, random_gpt2: Path, token_file: Path) -> Iterator[Start]:
    """Harvest into a small store of several windows at a path; return the exit code and what was printed."""

    def run(out: Path, *more: str) -> tuple[int, str]:
        done = command("harvest", "--model", random_gpt2, "--dataset", token_file, "--out", out, *SIZES, *more)
        return done.returncode, done.stderr

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(data.store.layout, "MAX_ROWS_PER_SHARD", 128)
        yield run


@pytest.fixture
def start(harvest_to: Start, tmp_path: Path) -> Start:
    """Harvest into s.zarr in the test's own folder."""
    return lambda *more: harvest_to(tmp_path / "s.zarr", *more)


@pytest.fixture(scope="module")
def by_seed(harvest_to: Start, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Finished stores of --seed 0 and --seed 1. Nothing may be written into them."""
    stores = [tmp_path_factory.mktemp("overwrite") / f"{seed}.zarr" for seed in (0, 1)]
    for seed, store in enumerate(stores):
        assert harvest_to(store, "--seed", str(seed))[0] == 0
    return stores


@pytest.fixture
def old(by_seed: list[Path], tmp_path: Path) -> dict[str, bytes]:
    """Files of the finished store that lies at s.zarr."""
    return files(shutil.copytree(by_seed[0], tmp_path / "s.zarr"))


def files(store: Path) -> dict[str, bytes]:
    return {str(p.relative_to(store)): p.read_bytes() for p in store.rglob("*") if p.is_file()}


def test_overwrite_leaves_copies_named_old_and_new_alone(start: Start, old: dict[str, bytes], tmp_path: Path) -> None:
    store, copies = tmp_path / "s.zarr", [tmp_path / name for name in ("s.zarr.old", "s.zarr.new")]
    for copy in copies:
        shutil.copytree(store, copy)
    before = [files(copy) for copy in copies]
    for more in ([], ["--overwrite"]):
        assert start(*more)[0] == 0
        assert [files(copy) for copy in copies] == before


def test_overwriting_a_store_of_one_window_tells_the_speed(
    command: Command, random_gpt2: Path, token_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data.store.layout, "MAX_ROWS_PER_SHARD", 1 << 20)
    out = tmp_path / "s.zarr"
    for _ in range(2):
        done = command(
            "harvest", "--model", random_gpt2, "--dataset", token_file, "--out", out, *SIZES, "--overwrite", "--json"
        )
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert answer["windows"] == 1
        assert answer["tokens_per_second"] > 0


def test_overwrite_keeps_the_old_store_if_the_new_one_fails_before_its_first_window(
    start: Start, old: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_store(tmp_path / "s.zarr").layout.n_windows > 1

    def fail(*arguments: Any, **more: Any) -> None:
        raise InputError("a mistake")

    for owner, name in ((Harvest, "load_model"), (Harvest, "create_store"), (pipeline, "check_finite")):
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, fail)
            code, said = start("--overwrite", "--seed", "1")
        assert (code, "Error: a mistake" in said) == (2, True)
        assert files(tmp_path / "s.zarr") == old
        assert [path.name for path in tmp_path.iterdir()] == ["s.zarr"]


@pytest.mark.parametrize(
    ("owner", "name", "at_call"),
    [(os, "rename", 1), (os, "rename", 2), (os, "rename", 3), (os, "rename", 4), (Harvest, "fill", 1),
     (Harvest, "fill", 2), (harvest.run, "finish", 1)],
)  # fmt: skip
def test_overwrite_killed_while_replacing_a_store_is_completed_by_the_same_command(
    start: Start, old: dict[str, bytes], by_seed: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    owner: Any, name: str, at_call: int,
) -> None:  # fmt: skip
    """The renames: the new store appears, the old one goes, the new one takes its name, and its unfinished parts."""
    with monkeypatch.context() as patched:
        kill_at(patched, owner, name, at_call)
        with pytest.raises(Killed):
            start("--overwrite", "--seed", "1")
    if (name, at_call) in (("rename", 1), ("rename", 2), ("fill", 1)):
        assert files(tmp_path / "s.zarr") == old
    if (name, at_call) in (("fill", 2), ("finish", 1)):  # the new one has its place, and is not begun again
        monkeypatch.setattr(harvest.run, "pack_dataset", None)
    code, said = start("--overwrite", "--seed", "1")
    assert code == 0, said
    assert files(tmp_path / "s.zarr") == files(by_seed[1])
    assert [path.name for path in tmp_path.iterdir()] == ["s.zarr"]


def test_staging_folder_left_by_a_kill_at_the_end_is_removed_by_the_next_start(
    start: Start, old: dict[str, bytes], tmp_path: Path
) -> None:
    (staging_path(tmp_path / "s.zarr") / "window-0").mkdir(parents=True)
    assert start()[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["s.zarr"]


def test_worker_reports_what_it_waits_for_and_stops_if_rank_0_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(harvest.output.worker, "WAIT_SECONDS", 0.01)
    out, looks = tmp_path / "s.zarr", []

    def lacking() -> set[int]:
        looks.append(1)
        if len(looks) == 3:
            first.__exit__(None, None, None)
        return {0}

    first = locked(worker_lock(out, 0), "--out")
    first.__enter__()
    with pytest.raises(Stopped):
        wait_for(lacking, "rank 0 to create it", out, Worker(1, 2), threading.Event())
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "rank 1 waits for rank 0 to create it",
        "rank 1 waited for rank 0 to create it, but rank 0 has ended; start all again",
    ]
    assert len(looks) == 4


def test_worker_looks_at_the_locks_of_unfinished_workers_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harvest.output.worker, "WAIT_SECONDS", 0.01)
    looked: list[Path] = []
    monkeypatch.setattr(harvest.output.worker, "is_held", looked.append)
    ranks = iter([{0}, {0}, {0}, set()])
    out = tmp_path / "s.zarr"
    wait_for(lambda: next(ranks), "it", out, Worker(1, 10_000), threading.Event())
    assert looked == [worker_lock(out, 0)] * 2


def test_worker_waits_for_rank_0_only_if_it_may_run_on_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harvest.output.worker, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(harvest.output.worker, "START_SECONDS", 0.0)
    looks: list[int] = []

    def lacking() -> set[int]:
        looks.append(1)
        return {0} if len(looks) < 4 else set()

    wait_for(lacking, "it", tmp_path / "s.zarr", Worker(1, 2), threading.Event())
    looks.clear()
    with pytest.raises(Stopped):
        wait_for(lacking, "it", tmp_path / "s.zarr", Worker(1, 2, one_machine=True), threading.Event())
