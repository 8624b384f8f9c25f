"""How fast is a store in an object store read?  python benchmarks/store/object_store.py

A server process on loopback answers S3's GET and HEAD from files, by sendfile, so the clients are the limit rather than
the server. Two measurements, each repeated in turn:

- drivers: 24 MB objects fetched by 8 threads, as the stream fetches shards, by obstore as this project uses it and
  behind fsspec, and by s3fs (`pip install s3fs`) with and without its request for the size; GB/s, and the client's CPU
  seconds per GB.
- passes: the rows/s of the shuffled stream from the local disk, from the object store by obstore, with a cache, and by
  s3fs: its first epoch, later ones, and the first epoch of a new reader, as of another process, on the filled cache;
  the first and the later ones also as multiples of those from the local disk.

Without s3fs its rows are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from operator import truediv
from pathlib import Path
from typing import Any

from benchmarks.shared.measure import report, table

SIZE, OBJECTS, THREADS, BATCH = 24 << 20, 9, 8, 4096
NOTHING = b'<?xml version="1.0"?><ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>'


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD of /bucket/KEY with the file KEY of the working directory."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = Path(self.path.partition("?")[0].removeprefix("/bucket").lstrip("/") or ".")
        is_list = "list-type" in self.path
        if not is_list and not path.is_file():
            self.respond(404, 0)
            return
        self.respond(200, len(NOTHING) if is_list else path.stat().st_size)
        if is_list:
            self.wfile.write(NOTHING)
        elif self.command == "GET":
            with open(path, "rb") as file:
                self.connection.sendfile(file)

    do_HEAD = do_GET

    def respond(self, status: int, size: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(size))
        self.send_header("ETag", '"0"')
        self.send_header("Last-Modified", "Sat, 01 Jan 2000 00:00:00 GMT")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def serve() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


def has_s3fs() -> bool:
    return importlib.util.find_spec("s3fs") is not None


def drivers() -> dict[str, Callable[[str], int]]:
    """Return functions that fetch an object and return its number of bytes."""
    from obstore.fsspec import FsspecStore

    from data.system.remote.object_store import object_store

    fetchers: dict[str, Callable[[str], int]] = {}
    behind = FsspecStore("s3", client_options={"allow_http": True})
    fetchers["obstore"] = lambda key: len(object_store("s3", "bucket").cat_file(f"bucket/{key}"))
    fetchers["obstore behind fsspec"] = lambda key: len(behind.cat_file(f"bucket/{key}"))
    if has_s3fs():
        import s3fs

        plain = s3fs.S3FileSystem()
        fetchers["s3fs"] = lambda key: len(plain.cat_file(f"bucket/{key}"))
        fetchers["s3fs, one request"] = lambda key: len(plain.cat_file(f"bucket/{key}", start=0))
    return fetchers


def measure_drivers(repeats: int) -> list[dict[str, Any]]:
    for number in range(OBJECTS):
        Path(f"object-{number}").write_bytes(os.urandom(SIZE))
    keys = [f"object-{number}" for number in range(OBJECTS)]
    fetchers, wall, cpu = drivers(), dict[str, list[float]](), dict[str, list[float]]()
    with ThreadPoolExecutor(THREADS) as pool:
        for turn in range(repeats + 1):
            for name, fetch in fetchers.items():
                begin, used = time.perf_counter(), time.process_time()
                assert sum(pool.map(fetch, keys)) == SIZE * OBJECTS
                if turn:  # the first opens connections
                    wall.setdefault(name, []).append(time.perf_counter() - begin)
                    cpu.setdefault(name, []).append(time.process_time() - used)
    gigabytes = SIZE * OBJECTS / 1e9
    return [
        {
            "driver": name, "GB/s": gigabytes / statistics.median(wall[name]),
            "CPU s/GB": statistics.median(cpu[name]) / gigabytes,
        }
        for name in fetchers
    ]  # fmt: skip


def measure_passes(gigabytes: float, repeats: int) -> list[dict[str, Any]]:
    from benchmarks.shared.made_store import empty_store, filled_window
    from data import ShuffledStream, Store, open_store
    from data.store.writing.lifecycle import finish
    from data.system.file_cache import FileCache

    path = Path("store.zarr")
    schema = empty_store(path, 1, gigabytes)
    for window in range(schema.layout.n_windows):
        filled_window(path, schema, window).seal()
    finish(path)

    def epoch(stream: ShuffledStream) -> float:
        batches = stream.order.shards.n_rows // BATCH
        begin = time.perf_counter()
        for _ in range(batches):
            next(stream)
        return batches * BATCH / (time.perf_counter() - begin) / 1e6

    first: dict[str, list[float]] = {}
    later: dict[str, list[float]] = {}
    again: dict[str, list[float]] = {}
    for turn in range(repeats):
        cache = FileCache(Path(f"cache-{turn}").absolute(), 10**10)
        stores: dict[str, Callable[[], Store]] = {
            "local disk": partial(open_store, path),
            "object store": partial(open_store, "s3://bucket/store.zarr"),
            "object store with --cache": partial(open_store, "s3://bucket/store.zarr", cache=cache),
        }
        if has_s3fs():
            # For s3a, which stands for s3, fsspec has the driver.
            stores["object store by s3fs"] = partial(open_store, "s3a://bucket/store.zarr")
        for name, opened in stores.items():
            # One stream at a time: a stream reads ahead while another is measured.
            with ShuffledStream(opened(), batch_size=BATCH) as stream:
                first.setdefault(name, []).append(epoch(stream))
                later.setdefault(name, []).append(statistics.median(epoch(stream) for _ in range(3)))
            with ShuffledStream(opened(), batch_size=BATCH) as stream:
                again.setdefault(name, []).append(epoch(stream))
    median = statistics.median
    return [
        {
            "store on": name, "first pass, Mrow/s": median(first[name]), "later passes, Mrow/s": median(later[name]),
            "first pass of a new reader, Mrow/s": median(again[name]),
            "first pass over local disk": median(map(truediv, first[name], first["local disk"])),
            "later passes over local disk": median(map(truediv, later[name], later["local disk"])),
        }
        for name in first
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Reading a store in an object store.")
    parser.add_argument("--gigabytes", type=float, default=0.4, help="Size of the store.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="Write the results here as JSON.")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    out = options.out and options.out.absolute()
    script = Path(__file__).absolute()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        server = subprocess.Popen([sys.executable, script, "--serve"], stdout=subprocess.PIPE, text=True)
        assert server.stdout
        os.environ |= {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.stdout.readline().strip()}", "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1",
        }  # fmt: skip
        try:
            drivers_rows = measure_drivers(options.repeats)
            print(table(drivers_rows) + "\n")
            passes = measure_passes(options.gigabytes, options.repeats)
        finally:
            server.kill()
            os.chdir(script.parent)
    report({"benchmark": "object_store", "repeats": options.repeats, "drivers": drivers_rows}, passes, out)


if __name__ == "__main__":
    main()
