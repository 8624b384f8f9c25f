"""Harvest and train on an object store that is away for a while, or that fails one request in twenty."""

from __future__ import annotations

import signal
import socket
import time
import uuid
from pathlib import Path

import pytest

from data import StoreError, open_store
from data.errors import DamagedError
from tests.helpers.fixture_types import Command, MakeStore
from tests.helpers.processes.zygote import Running, Zygote
from tests.helpers.servers.s3_front import S3Front

pytestmark = pytest.mark.long

PATCHES = {
    "data.store.layout.MAX_ROWS_PER_SHARD": 256, "harvest.request.SHARDS_PER_WINDOW": 4,
    "data.system.remote.retry.FIRST_WAIT": 0.05, "data.system.remote.retry.LONGEST_WAIT": 0.2,
    "data.system.remote.object_store.REPETITIONS": 0,
}  # fmt: skip
HARVEST = ("--model", "demo", "--tokens", "3k", "--context-size", "64", "--layers", "0", "--device", "cpu")
TRAIN = (
    "--variant", "baseline", "--expansion", "1", "--batch-size", "64", "--activations", "6k", "--device", "cpu",
)  # fmt: skip
OUTAGE = 0.3  # seconds, after the command has noticed it


@pytest.fixture(scope="module")
def undisturbed(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same store and runs, made on a disk."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for name, arguments in (("harvest", HARVEST), ("train", (*TRAIN, "--store", "demo.zarr"))):
        out = "demo.zarr" if name == "harvest" else "runs"
        done = zygote.run(name, *arguments, "--out", out, folder=folder, patches=PATCHES)
        assert done.code == 0, done.stderr
    return folder


def interrupt(s3: S3Front, running: Running, requests: int) -> None:
    """Kill the server once the command has made some requests, and start it again after a while."""
    s3.wait_for(len(s3.requests()) + requests)
    s3.kill()
    while "trying again for up to" not in running.printed():
        assert running.poll() is None
        time.sleep(0.01)
    time.sleep(OUTAGE)
    s3.start()


@pytest.mark.parametrize("fault", ["server killed", "one request in twenty fails"])
def test_harvest_and_train_continue_through_faults_of_an_object_store(
    fault: str, s3: S3Front, zygote: Zygote, undisturbed: Path, tmp_path: Path
) -> None:
    from tests.helpers.servers.s3 import downloaded

    zygote.preload("harvest.run", "train.run", "boto3")
    key = f"{uuid.uuid4().hex}/demo.zarr"
    address = f"s3://bucket/{key}"
    if fault != "server killed":
        s3.kill()
        s3.start(fail_every=20)

    def run(name: str, *arguments: object, requests: int) -> str:
        running = zygote.start(name, *arguments, folder=tmp_path, patches=PATCHES, environment=s3.environment)
        if fault == "server killed":
            interrupt(s3, running, requests)
        done = running.wait()
        assert done.code == 0, done.stderr
        return done.stderr

    said = run("harvest", *HARVEST, "--out", address, requests=60)
    store = undisturbed / "demo.zarr"
    files = {path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("*") if path.is_file()}
    assert downloaded(key) == files
    assert "trying again for up to" in said
    said = run("train", *TRAIN, "--store", address, "--cache", "cache", "--out", "runs", requests=12)
    assert "trying again for up to" in said
    weights = sorted(path.relative_to(undisturbed) for path in undisturbed.rglob("runs/**/*.safetensors"))
    assert weights
    assert all((tmp_path / path).read_bytes() == (undisturbed / path).read_bytes() for path in weights)


def test_command_that_finds_its_object_store_away_ends_with_75_and_without_credentials(
    s3: S3Front, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://me:pass@127.0.0.1:{s3.port}")
    monkeypatch.setattr("data.system.location.FIRST_PATIENCE", 0)
    s3.kill()
    done = command("analyze", "store", "--store", "s3://bucket/gpt2.zarr")
    assert done.returncode == 75
    assert "s3://bucket/gpt2.zarr cannot be reached (" in done.stderr
    assert "pass" not in done.stderr


def test_signal_ends_a_harvest_that_waits_for_its_object_store(s3: S3Front, zygote: Zygote, tmp_path: Path) -> None:
    zygote.preload("harvest.run", "boto3")
    address = f"s3://bucket/{uuid.uuid4().hex}/demo.zarr"
    running = zygote.start(
        "harvest", *HARVEST, "--out", address, folder=tmp_path, patches=PATCHES, environment=s3.environment
    )
    s3.wait_for(len(s3.requests()) + 30)
    s3.kill()
    while "trying again for up to 10 min" not in running.printed():
        assert running.poll() is None
        time.sleep(0.05)
    begin = time.monotonic()
    running.kill(signal.SIGTERM)
    done = running.wait()
    assert time.monotonic() - begin < 30  # on a busy machine; without the signal it would wait for ten minutes
    assert done.code == 75, done.stderr
    assert "stopped; what is done is kept, and the same command continues" in done.stderr
    assert "Traceback" not in done.stderr


def test_server_that_accepts_connections_and_never_answers_ends_in_one_sentence(
    s3: S3Front, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data.system.location.FIRST_PATIENCE", 0.5)
    monkeypatch.setattr("data.system.remote.retry.LEAST_ANSWER", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        done = command("analyze", "store", "--store", "s3://bucket/silent.zarr")
    assert done.returncode == 75
    assert "s3://bucket/silent.zarr cannot be reached (no answer for 1 s); the same command continues" in done.stderr


def test_empty_object_is_called_damaged(s3: S3Front, make_store: MakeStore) -> None:
    from tests.helpers.servers.s3 import put, upload

    store, _, _ = make_store()
    key, shard = uuid.uuid4().hex, store.shards("train")[0]
    address = upload(store.path, key)
    open_store(address).rows(store.hooks[0], shard)
    put(f"{key}/{store.hooks[0]}/c.{shard}.0", b"")
    with pytest.raises(DamagedError, match="damaged"):
        open_store(address).rows(store.hooks[0], shard)
    put(f"{key}/zarr.json", b"")
    with pytest.raises(StoreError, match="damaged"):
        open_store(address)


def test_address_with_credentials_is_refused(command: Command) -> None:
    done = command("analyze", "store", "--store", "https://me:pass@host/gpt2.zarr")
    assert done.returncode == 2
    assert "https://***@host/gpt2.zarr holds credentials" in done.stderr
    assert "pass" not in done.stderr


def test_missing_bucket_and_refused_rights_end_at_once(s3: S3Front, command: Command) -> None:
    done = command("train", "--variant", "baseline", "--store", "s3://no-such-bucket/gpt2.zarr")
    assert done.returncode == 2
    assert "there is no store at s3://no-such-bucket/gpt2.zarr" in done.stderr
    s3.kill()
    s3.start(refuse=True)
    done = command("train", "--variant", "baseline", "--store", "s3://bucket/gpt2.zarr")
    assert done.returncode == 2
    assert "s3://bucket/gpt2.zarr cannot be reached (" in done.stderr
    assert "check the address and the credentials" in done.stderr
    assert len(done.stderr.strip().splitlines()[-1]) < 300
