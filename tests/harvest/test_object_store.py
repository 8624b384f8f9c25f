"""A harvest into an object store: the command in memory, and killed against a server that speaks S3."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from upath import UPath

from data import open_store
from data.store.verify import verify
from data.store.writing.lifecycle import MARK, staging_path
from data.system.location import Location, exists, locate
from data.system.remote.object_store import object_store
from tests.helpers.fixture_types import Command
from tests.helpers.processes.zygote import Running, Zygote
from tests.helpers.servers.s3 import downloaded

pytestmark = pytest.mark.long

SIZES = ("--tokens", "5k", "--context-size", "32", "--batch-size", "32", "--device", "cpu")

# Small windows make several of a small store; all else is the command as users run it.
PATCHES = {
    "data.store.layout.MAX_ROWS_PER_SHARD": 512, "harvest.request.SHARDS_PER_WINDOW": 2,
    "harvest.pipeline.pipeline.SYNC_SECONDS": 0.5,
}  # fmt: skip
DEMO = ("--model", "demo", "--tokens", "2k", "--context-size", "64", "--layers", "0,1", "--device", "cpu")


def files_of(store: Location) -> dict[str, bytes]:
    """Every file of a store, by its name in it."""
    if isinstance(store, Path):
        return {p.relative_to(store).as_posix(): p.read_bytes() for p in store.rglob("*") if p.is_file()}
    return {
        name.removeprefix(store.path).lstrip("/"): store.fs.cat_file(name)
        for name in store.fs.find(store.path, refresh=True)
    }


def put(files: dict[str, bytes], out: Location) -> None:
    """Write files into an object store."""
    assert isinstance(out, UPath)
    for name, content in files.items():
        out.fs.pipe_file(f"{out.path}/{name}", content)


@pytest.fixture
def harvest(
    command: Command, random_gpt2: Path, token_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Command:
    """Harvest to a path or address, in the test's own folder as the working directory."""
    monkeypatch.chdir(tmp_path)
    return lambda out, *more: command(
        "harvest", "--model", random_gpt2, "--dataset", token_file, "--out", out, *SIZES, *more
    )


@pytest.fixture(scope="module")
def local(command: Command, random_gpt2: Path, token_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished store on the disk. Nothing may be written into it."""
    out = tmp_path_factory.mktemp("local") / "local.zarr"
    done = command("harvest", "--model", random_gpt2, "--dataset", token_file, "--out", out, *SIZES)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def out() -> Location:
    return locate(f"memory://{uuid.uuid4().hex}/gpt2.zarr")


def test_harvest_and_analyze_work_on_an_object_store_as_on_a_disk(
    command: Command, harvest: Command, out: Location, local: Path, tmp_path: Path
) -> None:
    done = harvest(out)
    assert done.returncode == 0, done.stderr
    assert files_of(out) == files_of(local)
    assert [p.name for p in tmp_path.rglob("*.partial")] == []
    told = [json.loads(command("analyze", "store", "--store", s, "--json").stdout) for s in (out, local)]
    assert told[0].pop("path") == str(out)
    assert told[1].pop("path") == str(local)
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
    harvest: Command, out: Location, left: str, local: Path
) -> None:
    assert isinstance(out, UPath)
    kept = {"a creation": ("tokens/", "stats/zarr.json"), "a removal": ("blocks.0.", "commit/", "stats/")}[left]
    out.fs.pipe_file(f"{out.path}/{MARK}", b"")
    put({name: content for name, content in files_of(local).items() if name.startswith(kept)}, out)
    out.fs.pipe_file(f"{out.path}/blocks.9.hook_mlp_out/zarr.json", b"{}")  # of other settings
    done = harvest(out)
    assert done.returncode == 0, done.stderr
    assert files_of(out) == files_of(local)


@pytest.mark.parametrize("where", ["a disk", "an object store"])
@pytest.mark.parametrize("more", [[], ["--overwrite"]])
def test_store_without_its_zarr_json_is_refused_and_kept(
    harvest: Command, out: Location, local: Path, where: str, more: list[str]
) -> None:
    place = out
    if where == "a disk":
        place = shutil.copytree(local, Path("copy.zarr"))
    else:
        put(files_of(local), out)
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
    monkeypatch.setattr("harvest.output.write_speed.MOST_BYTES", 64 << 20)  # a dry run measures the disk's speed
    assert "the store needs" in harvest("local.zarr", "--tokens", "100M", "--dry-run").stderr
    done = harvest(out, "--tokens", "100M", "--dry-run")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def s3(moto_port: int) -> Iterator[None]:
    """A server that speaks S3, on loopback, and the environment by which commands find it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{moto_port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        object_store.cache_clear()
        yield
    object_store.cache_clear()


def is_put(name: str) -> bool:
    """Return whether the bucket has an object, from the server's memory: a request would take much longer."""
    return name in s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets["bucket"].keys


# The object after which to kill, and whether the machine is lost with its disk.
MOMENTS = [
    ("blocks.1.hook_mlp_out/c.0.0", False),  # while a window is put
    ("blocks.1.hook_mlp_out/c.2.0", True),  # while another is, after a first is committed
    ("stats/blocks.0.hook_mlp_out/moments/c.0.0.0.0", False),  # while the store is finished
]


def test_object_store_harvest_killed_three_times_equals_a_local_one(
    s3: None, zygote: Zygote, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def start(out: Location) -> Running:
        return zygote.start("harvest", *DEMO, "--out", out, folder=tmp_path, patches=PATCHES, environment=aws)

    aws = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    zygote.preload("harvest.run", "boto3")
    done = start(tmp_path / "whole.zarr").wait()
    assert done.code == 0, done.stderr
    whole = files_of(tmp_path / "whole.zarr")
    assert open_store(tmp_path / "whole.zarr").layout.n_windows >= 3

    out = locate("s3://bucket/runs/demo.zarr")
    rng = random.Random(0)
    seen = []
    for name, is_lost in MOMENTS:
        process = start(out)
        while process.poll() is None and not is_put(f"runs/demo.zarr/{name}"):
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        process.wait()
        if exists(out / "zarr.json"):
            store = open_store(out)
            assert [problem for problem in verify(store.path) if problem] == []
            seen.append(len(store.shards("heldout") + store.shards("train")))
        if is_lost:
            shutil.rmtree(tmp_path / staging_path(out))
    done = start(out).wait()
    assert done.code == 0, done.stderr
    assert downloaded("runs/demo.zarr") == whole
    assert [problem for problem in verify(str(out)) if problem] == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "whole.zarr"]
    assert list((tmp_path / "data").iterdir()) == []
    with capsys.disabled():
        print(f" [committed shards after each kill: {seen}]", end="")


def test_missing_bucket_is_reported_before_the_model_loads(
    s3: None, harvest: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harvest.run.load", lambda *a, **k: pytest.fail("the model was loaded"))
    done = harvest("s3://no-such-bucket/demo.zarr")
    assert done.returncode == 2
    assert "s3://no-such-bucket/demo.zarr cannot be written" in done.stderr
