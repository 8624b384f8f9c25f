"""A harvest into an object store: the command in memory, and killed against a server that speaks S3."""

from __future__ import annotations

import json
import multiprocessing
import random
import shutil
import time
import uuid
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import s3fs
from moto.server import ThreadedMotoServer
from upath import UPath

from data import open_store
from data.store.verify import verify
from data.store.writing.lifecycle import MARK, staging_path
from data.system.location import Location, exists, locate
from tests.helpers.fixture_types import Command

pytestmark = pytest.mark.long

SIZES = ("--tokens", "5k", "--context-size", "32", "--batch-size", "8", "--device", "cpu")

# Small windows make several of a small store; all else is the command as users run it.
PROGRAM = """
import os, harvest.pipeline, harvest.request
from harvest.cli import main
os.chdir(folder)
harvest.request.SHARDS_PER_WINDOW = 8
harvest.pipeline.SYNC_SECONDS = 0.5
main(arguments)
"""
DEMO = ("--model", "demo", "--tokens", "40k", "--layers", "0,1", "--device", "cpu")


def files_of(store: Location) -> dict[str, bytes]:
    """Every file of a store, by its name in it."""
    if isinstance(store, Path):
        return {p.relative_to(store).as_posix(): p.read_bytes() for p in store.rglob("*") if p.is_file()}
    return {
        name.removeprefix(store.path).lstrip("/"): store.fs.cat_file(name)
        for name in store.fs.find(store.path, refresh=True)
    }


@pytest.fixture
def harvest(
    command: Command, random_gpt2: Path, token_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Command:
    monkeypatch.chdir(tmp_path)
    return lambda out, *more: command(
        "harvest", "--model", random_gpt2, "--dataset", token_file, "--out", out, *SIZES, *more
    )


@pytest.fixture
def out() -> Location:
    return locate(f"memory://{uuid.uuid4().hex}/gpt2.zarr")


def test_harvest_and_analyze_work_on_an_object_store_as_on_a_disk(
    command: Command, harvest: Command, out: Location, tmp_path: Path
) -> None:
    assert harvest("local.zarr").returncode == 0
    done = harvest(out)
    assert done.returncode == 0, done.stderr
    assert files_of(out) == files_of(tmp_path / "local.zarr")
    assert [p.name for p in tmp_path.rglob("*.partial")] == []
    told = [json.loads(command("analyze", "store", "--store", s, "--json").stdout) for s in (out, "local.zarr")]
    assert told[0].pop("path") == str(out)
    assert told[1].pop("path") == "local.zarr"
    assert told[0].pop("stream")["bytes_held"] <= told[1].pop("stream")["bytes_held"]
    assert told[0] == told[1]
    assert command("analyze", "verify", "--store", out).returncode == 0

    done = harvest(out)
    assert done.returncode == 0
    assert "nothing to do" in done.stderr
    done = harvest(out, "--dtype", "int8")
    assert done.returncode == 2
    assert "--dtype (the store has float16, the command int8)" in done.stderr
    assert harvest(out, "--dtype", "int8", "--layers", "1", "--overwrite").returncode == 0
    assert open_store(out).dtype == "int8"
    assert harvest("local8.zarr", "--dtype", "int8", "--layers", "1").returncode == 0
    assert files_of(out) == files_of(tmp_path / "local8.zarr")


def test_harvest_never_deletes_objects_that_are_no_store(harvest: Command, out: Location) -> None:
    (out / "chapter1.txt").write_text("words")
    for more in ([], ["--overwrite"]):
        done = harvest(out, *more)
        assert done.returncode == 2
        assert "is not an activation store" in done.stderr
    assert files_of(out) == {"chapter1.txt": b"words"}


@pytest.mark.parametrize("left", ["a creation", "a removal"])
def test_objects_left_by_a_killed_creation_or_removal_are_removed(
    harvest: Command, out: Location, left: str, tmp_path: Path
) -> None:
    assert isinstance(out, UPath)
    assert harvest("local.zarr").returncode == 0
    kept = {"a creation": ("tokens/", "stats/zarr.json"), "a removal": ("blocks.0.", "commit/", "stats/")}[left]
    out.fs.pipe_file(f"{out.path}/{MARK}", b"")
    for name, data in files_of(tmp_path / "local.zarr").items():
        if name.startswith(kept):
            out.fs.pipe_file(f"{out.path}/{name}", data)
    out.fs.pipe_file(f"{out.path}/blocks.9.hook_mlp_out/zarr.json", b"{}")  # of other settings
    done = harvest(out)
    assert done.returncode == 0, done.stderr
    assert files_of(out) == files_of(tmp_path / "local.zarr")


@pytest.mark.parametrize("where", ["a disk", "an object store"])
@pytest.mark.parametrize("more", [[], ["--overwrite"]])
def test_store_without_its_zarr_json_is_refused_and_kept(
    harvest: Command, out: Location, where: str, more: list[str]
) -> None:
    place = Path("local.zarr") if where == "a disk" else out
    assert harvest(place).returncode == 0
    lost = (place / "zarr.json").read_bytes()
    (place / "zarr.json").unlink()
    before = files_of(place)
    done = harvest(place, *more)
    assert done.returncode == 2
    assert "holds a store without its zarr.json; put that file back" in done.stderr
    assert files_of(place) == before
    (place / "zarr.json").write_bytes(lost)
    assert "nothing to do" in harvest(place).stderr


def test_object_store_harvest_needs_local_space_for_tokens_and_two_windows(
    harvest: Command, out: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = harvest(out, "--tokens", "60B")
    assert done.returncode == 2
    assert "its unfinished parts, in data/gpt2-" in done.stderr
    usage = shutil.disk_usage(".")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=10 << 30))
    assert "the store needs" in harvest("local.zarr", "--tokens", "100M", "--dry-run").stderr
    done = harvest(out, "--tokens", "100M", "--dry-run")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def s3() -> Iterator[s3fs.S3FileSystem]:
    """A server that speaks S3, on loopback, and the environment by which s3fs finds it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()
        file_system = s3fs.S3FileSystem()
        file_system.mkdir("bucket")
        yield file_system
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def start(out: Location, folder: Path) -> BaseProcess:
    """The command in a process of its own, forked from one that has imported what takes seconds to import."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["harvest.run", "s3fs"])
    process = context.Process(
        target=exec, args=(PROGRAM, {"folder": str(folder), "arguments": [*DEMO, "--out", str(out)]})
    )
    process.start()
    return process


# The object after which to kill, and whether the machine is lost with its disk.
MOMENTS = [
    ("blocks.1.hook_mlp_out/c.2.0", False),  # while a window is put
    ("blocks.1.hook_mlp_out/c.9.0", True),  # while another is, after a first is committed
    ("stats/blocks.0.hook_mlp_out/moments/c.0.0.0.0", False),  # while the store is finished
]


def test_object_store_harvest_killed_three_times_equals_a_local_one(
    s3: s3fs.S3FileSystem,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("harvest.request.SHARDS_PER_WINDOW", 8)  # as in PROGRAM
    assert command("harvest", *DEMO, "--out", tmp_path / "whole.zarr").returncode == 0
    whole = files_of(tmp_path / "whole.zarr")
    assert open_store(tmp_path / "whole.zarr").layout.n_windows >= 3

    out = locate("s3://bucket/runs/demo.zarr")
    rng = random.Random(0)
    seen = []
    for name, is_lost in MOMENTS:
        process = start(out, tmp_path)
        while process.is_alive() and not exists(out / name):
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        process.join()
        if exists(out / "zarr.json"):
            store = open_store(out)
            assert [problem for problem in verify(store.path) if problem] == []
            seen.append(len(store.shards("heldout") + store.shards("train")))
        if is_lost:
            shutil.rmtree(tmp_path / staging_path(out))
    process = start(out, tmp_path)
    process.join()
    assert process.exitcode == 0
    assert files_of(out) == whole
    assert [problem for problem in verify(str(out)) if problem] == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "whole.zarr"]
    assert list((tmp_path / "data").iterdir()) == []
    with capsys.disabled():
        print(f" [committed shards after each kill: {seen}]", end="")


def test_missing_bucket_is_reported_before_the_model_loads(
    s3: s3fs.S3FileSystem, harvest: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harvest.run.load", lambda *a, **k: pytest.fail("the model was loaded"))
    done = harvest("s3://no-such-bucket/demo.zarr")
    assert done.returncode == 2
    assert "s3://no-such-bucket/demo.zarr cannot be written" in done.stderr
