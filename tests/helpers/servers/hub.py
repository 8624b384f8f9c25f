"""Serve folders to the Hugging Face libraries as the model hub does."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.helpers.servers.hub_uploads import Uploads

API = re.compile(r"/api/(models|datasets)/((?:[^/]+/)?[^/]+)(?:/(revision|tree)/([^/]+)(?:/(.+))?)?")
RESOLVE = re.compile(r"/(?:(datasets)/)?((?:[^/]+/)?[^/]+)/resolve/([^/]+)/(.+)")


class Hub(ThreadingHTTPServer):
    """A model hub on the loopback address; each branch of a repository is a folder."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[tuple[str, str], dict[str, tuple[str, Path]]] = defaultdict(dict)
        self.requests: list[str] = []
        self.tokens: dict[str, str] = {}  # private repository → the token that reads it
        self.gated: set[str] = set()
        self.uploads = Uploads(self)
        self.breaks_at: str | None = None  # the path whose request gets no answer: the connection ends

    def start(self) -> None:
        """Answer requests in a thread of its own."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Refuse all connections, as if there were no network."""
        self.shutdown()
        self.server_close()
        try:
            yield
        finally:
            self.socket = socket.socket(self.address_family, self.socket_type)
            self.server_bind()
            self.server_activate()
            self.start()

    def add(self, kind: str, name: str, folder: Path, branch: str = "main") -> str:
        """Serve a folder as a branch; return its commit."""
        commit = hashlib.sha1(f"{kind} {name} {branch}".encode()).hexdigest()
        for revision in (branch, commit):
            self.repositories[kind, name][revision] = commit, folder
        return commit


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each content waits 0.04 s for the receipt of its headers
    server: Hub

    def do_POST(self) -> None:
        status, value = self.server.uploads.post(unquote(urlsplit(self.path).path), self.body(), self.token())
        self.answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def do_PUT(self) -> None:
        self.answer(self.server.uploads.put(urlsplit(self.path).path, self.body()))

    def body(self) -> bytes:
        """Return the request's body."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def do_GET(self) -> None:
        path, query = unquote(urlsplit(self.path).path), urlsplit(self.path).query
        if path == self.server.breaks_at:
            self.close_connection = True
        elif match := API.fullmatch(path):
            kind, name, question, revision, below = match.groups()
            deep = "recursive=true" in query
            self.answer_from(kind, name, revision or "main", question or "revision", below or "", deep=deep)
        elif match := RESOLVE.fullmatch(path):
            kind, name, revision, below = match.groups("models")
            self.answer_from(kind, name, revision, "resolve", below)
        else:
            self.answer(404)

    do_HEAD = do_GET

    def answer_from(
        self, kind: str, name: str, revision: str, question: str, below: str, *, deep: bool = False
    ) -> None:
        token = self.server.tokens.get(name)
        if (kind, name) not in self.server.repositories or token not in (None, self.token()):
            return self.answer(404 if self.token() else 401, error="RepoNotFound")  # a private one looks like none
        if name in self.server.gated:
            return self.answer(403, error="GatedRepo")
        if revision not in self.server.repositories[kind, name]:
            return self.answer(404, error="RevisionNotFound")
        commit, folder = self.server.repositories[kind, name][revision]
        if not (folder / below).exists():
            return self.answer(404, error="EntryNotFound", commit=commit)
        if question == "resolve":
            return self.answer_file((folder / below).read_bytes(), commit)
        if question == "revision":
            names = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
            private = name in self.server.tokens
            siblings = [{"rfilename": n} for n in names]
            return self.answer_json({"id": name, "sha": commit, "private": private, "siblings": siblings})
        self.answer_json([describe(p, folder) for p in sorted((folder / below).glob("**/*" if deep else "*"))])

    def token(self) -> str | None:
        """Return the token that the request brings."""
        return self.headers.get("Authorization", "").removeprefix("Bearer ") or None

    def answer_file(self, content: bytes, commit: str) -> None:
        headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked:
            return self.answer(200, content, headers, commit=commit)
        first, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        self.answer(206, content[first : last + 1], headers, commit=commit)

    def answer_json(self, value: Any) -> None:
        self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def answer(
        self, status: int, body: bytes = b"", more: dict[str, str] | None = None, *, error: str = "", commit: str = ""
    ) -> None:
        self.send_response(status)
        ours = {"Content-Length": str(len(body)), "X-Error-Code": error, "X-Repo-Commit": commit}
        for name, value in {**ours, **(more or {})}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        self.server.requests.append(f"{self.command} {self.path}")


def describe(path: Path, root: Path) -> dict[str, Any]:
    """Return an entry of a repository's tree."""
    entry = {"path": path.relative_to(root).as_posix(), "oid": hashlib.sha1(bytes(path)).hexdigest()}
    return entry | ({"type": "directory"} if path.is_dir() else {"type": "file", "size": path.stat().st_size})


def write_jsonl(path: Path, texts: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path
