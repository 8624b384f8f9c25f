"""A process before an S3 server, which can be killed and started again while the server keeps its objects.

    python tests/helpers/servers/s3_front.py PORT SERVER_PORT LOG FAIL_EVERY

It forwards each request and writes its method and path as a line of LOG. Of every FAIL_EVERY requests (0: none) one
fails: in turn with status 500, with "SlowDown", or by a closed connection. With FAIL_EVERY -1 all get 403.
For clients it is the server: moto, behind it, keeps its objects in the memory of the test's process.
"""

from __future__ import annotations

import http.client
import itertools
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO

HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"}
XML = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{}</Code><Message>We encountered a fault.</Message></Error>'


def handler_of(server_port: int, log: IO[bytes], fail_every: int) -> type[BaseHTTPRequestHandler]:
    numbers, lock = itertools.count(1), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else each content waits 0.04 s for the receipt of its headers

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with lock:
                number = next(numbers)
                log.write(f"{self.command} {self.path}\n".encode())
                log.flush()
            if fail_every < 0:
                self.answer(403, "AccessDenied")
                return
            if fail_every and number % fail_every == 0:
                self.fail(number // fail_every)
                return
            connection = http.client.HTTPConnection("127.0.0.1", server_port)
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            answer = connection.getresponse()
            size = int(answer.getheader("Content-Length") or 0)
            content = b"" if self.command == "HEAD" else answer.read()
            connection.close()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(size if self.command == "HEAD" else len(content)))
            self.end_headers()
            self.wfile.write(content)

        def fail(self, number: int) -> None:
            if number % 3 == 0:
                self.close_connection = True
                return
            self.answer(*((500, "InternalError"), (503, "SlowDown"))[number % 3 - 1])

        def answer(self, status: int, code: str) -> None:
            content = b"" if self.command == "HEAD" else XML.format(code).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = forward

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    return Handler


class S3Front:
    """The process, started and killed at will. Its port stays the same, so an address stays valid."""

    def __init__(self, port: int, server_port: int, log: Path) -> None:
        self.port, self.server_port, self.log = port, server_port, log
        self._process: subprocess.Popen[bytes] | None = None
        log.touch()

    @property
    def environment(self) -> dict[str, str]:
        """The environment of commands that use the server."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}", "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
        }  # fmt: skip

    def start(self, fail_every: int = 0, *, refuse: bool = False) -> None:
        """Start the process and wait until it listens. `refuse`: it answers each request with status 403."""
        arguments = map(str, (self.port, self.server_port, self.log, -1 if refuse else fail_every))
        self._process = subprocess.Popen([sys.executable, "-S", "-E", __file__, *arguments], stdout=subprocess.PIPE)
        assert self._process.stdout
        assert self._process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        """Kill the process by SIGKILL, with all its connections."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout
            self._process.stdout.close()
            self._process = None

    def requests(self) -> list[str]:
        """Return the requests so far, such as "GET /bucket/made.zarr/zarr.json"."""
        return self.log.read_text(encoding="utf-8").splitlines()

    def wait_for(self, n: int, seconds: float = 60) -> None:
        """Wait until there were n requests."""
        deadline = time.monotonic() + seconds
        while len(self.requests()) < n:
            assert time.monotonic() < deadline, f"{len(self.requests())} requests"
            time.sleep(0.005)


if __name__ == "__main__":
    port, server_port, log_path, fail_every = sys.argv[1:]
    with open(log_path, "ab") as log:
        handler = handler_of(int(server_port), log, int(fail_every))
        ThreadingHTTPServer.request_queue_size = 64
        front = ThreadingHTTPServer(("127.0.0.1", int(port)), handler)
        os.write(1, b"ready\n")
        front.serve_forever()
