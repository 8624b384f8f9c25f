"""An S3 server on loopback: moto in the test's process, behind a process that can be killed (s3_front.py)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer
from werkzeug.serving import WSGIRequestHandler

from data.system.remote.object_store import object_store
from tests.helpers.servers.s3_front import S3Front

BUCKET = "bucket"


@contextmanager
def moto_server() -> Iterator[int]:
    """Run moto in threads of this process, with an empty bucket; yield its port."""
    WSGIRequestHandler.disable_nagle_algorithm = True  # else each content waits for the receipt of its headers
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    if BUCKET not in objects_of_all():
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].create_bucket(BUCKET, "us-east-1")
    yield server.get_host_and_port()[1]
    server.stop()


def objects_of_all() -> dict[str, object]:
    buckets: dict[str, object] = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets
    return buckets


@contextmanager
def s3_front(moto_port: int, folder: Path) -> Iterator[S3Front]:
    """Run a front before moto, and set the environment by which commands find it; obstore tries once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    front = S3Front(port, moto_port, folder / "requests.log")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in front.environment.items():
            patch.setenv(name, value)
        patch.setattr("data.system.remote.object_store.REPETITIONS", 0)
        object_store.cache_clear()
        front.start()
        yield front
        front.kill()
    object_store.cache_clear()


def upload(folder: Path, key: str) -> str:
    """Put a folder's files into moto's memory, which is faster than requests; return the address."""
    for path in folder.rglob("*"):
        if path.is_file():
            name = f"{key}/{path.relative_to(folder).as_posix()}"
            s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(BUCKET, name, path.read_bytes())
    return f"s3://{BUCKET}/{key}"


def put(key: str, content: bytes) -> None:
    """Put an object into moto's memory."""
    s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(BUCKET, key, content)


def downloaded(key: str) -> dict[str, bytes]:
    """Return the objects below a key by their names in it, from moto's memory."""
    bucket = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[BUCKET]
    return {
        name.removeprefix(f"{key}/"): bytes(value.value)
        for name, value in bucket.keys.items()
        if name.startswith(f"{key}/")
    }
