"""Writing to the tests' model hub: the requests of huggingface_hub's create_repo, create_branch and create_commit."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.helpers.servers.hub import Hub

MODEL = re.compile(r"/api/models/([^/]+/[^/]+)/(branch|preupload|commit)/([^/]+)")
LFS = re.compile(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch")
Answer = tuple[int, Any]


class Uploads:
    """Repositories that clients create and write. Commits are folders below `folder`.

    accounts: user → the token that may write to the user's repositories.
    """

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.folder = Path()
        self.accounts: dict[str, str] = {}
        self.large: dict[str, bytes] = {}  # the files stored by LFS, by their SHA-256
        self.commits: list[str] = []  # their messages

    def post(self, path: str, body: bytes, token: str | None) -> Answer:
        """Return the status and the JSON that answer a POST request."""
        if path == "/api/validate-yaml":
            return self._validate(json.loads(body)["content"])
        if path == "/verify":
            return 200, {}
        if path == "/api/repos/create":
            asked = json.loads(body)
            repo = f"{asked['organization']}/{asked['name']}"
            return self._refuse(repo, token) or self._create(repo, token, private=asked.get("visibility") == "private")
        if parts := LFS.fullmatch(path):
            return self._refuse(parts[1], token) or self._batch(json.loads(body))
        if parts := MODEL.fullmatch(path):
            repo, question, branch = parts.groups()
            if refused := self._refuse(repo, token):
                return refused
            branches = self.hub.repositories["models", repo]
            if question == "branch":
                if branch in branches:
                    return 409, {"error": "Reference already exists"}
                branches[branch] = branches["main"]
                return 200, {}
            if question == "preupload":
                return 200, {"files": [self._mode(file, branches[branch][1]) for file in json.loads(body)["files"]]}
            return self._commit(repo, branch, [json.loads(line) for line in body.splitlines()])
        return 404, {}

    def put(self, path: str, body: bytes) -> int:
        """Store a large file; return the status."""
        if path != f"/lfs/{hashlib.sha256(body).hexdigest()}":
            return 400
        self.large[path.removeprefix("/lfs/")] = body
        return 200

    def _refuse(self, repo: str, token: str | None) -> Answer | None:
        """Return the answer to a token that may not write to a repository; None if it may."""
        if token not in self.accounts.values():
            return 401, {"error": "Invalid username or password."}
        if self.accounts.get(repo.partition("/")[0]) != token:
            return 403, {"error": "You don't have the rights to write to this namespace"}
        return None

    def _validate(self, content: str) -> Answer:
        wrong = re.search(r"^license: no-such$", content, re.MULTILINE)
        errors = [{"message": '"license" must be one of the known licenses'}] if wrong else []
        return (400 if errors else 200), {"errors": errors, "warnings": []}

    def _create(self, repo: str, token: str | None, *, private: bool) -> Answer:
        url = {"url": f"http://127.0.0.1:{self.hub.server_port}/{repo}"}
        if ("models", repo) in self.hub.repositories:
            return 409, {"error": "You already created this model repo", **url}
        if private:
            assert token is not None
            self.hub.tokens[repo] = token
        self._publish(repo, "main", {".gitattributes": b"*.safetensors filter=lfs\n"}, [], None)
        return 200, url

    def _mode(self, file: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Answer whether a file goes by LFS, and which content the branch has at its path."""
        large, present = file["path"].endswith(".safetensors"), folder / file["path"]
        oid = None
        if present.is_file():
            content = present.read_bytes()
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content)
            oid = hashlib.sha256(content).hexdigest() if large else blob.hexdigest()
        return {"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}

    def _batch(self, asked: dict[str, Any]) -> Answer:
        address = f"http://127.0.0.1:{self.hub.server_port}"
        objects = []
        for wanted in asked["objects"]:
            href = {"upload": {"href": f"{address}/lfs/{wanted['oid']}"}, "verify": {"href": f"{address}/verify"}}
            objects.append(wanted if wanted["oid"] in self.large else {**wanted, "actions": href})
        return 200, {"transfer": "basic", "objects": objects}

    def _commit(self, repo: str, branch: str, lines: list[dict[str, Any]]) -> Answer:
        header, *operations = ((line["key"], line["value"]) for line in lines)
        commit, before = self.hub.repositories["models", repo][branch]
        if header[1].get("parentCommit", commit) != commit:
            return 412, {"error": "The branch has changed"}
        written: dict[str, bytes] = {}
        for key, value in operations:
            if key == "file":
                written[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                written[value["path"]] = self.large[value["oid"]]
        deleted = [value["path"] for key, value in operations if key == "deletedFile"]
        self.commits.append(header[1]["summary"])
        oid = self._publish(repo, branch, written, deleted, before)
        return 200, {"commitUrl": f"http://127.0.0.1:{self.hub.server_port}/{repo}/commit/{oid}", "commitOid": oid}

    def _publish(
        self, repo: str, branch: str, written: dict[str, bytes], deleted: list[str], before: Path | None
    ) -> str:
        """Write a commit's folder and make it the branch's newest; return the commit."""
        number = len(self.hub.repositories["models", repo])
        oid = hashlib.sha1(f"{repo} {branch} {number}".encode()).hexdigest()
        folder = self.folder / oid
        if before is None:
            folder.mkdir(parents=True)
        else:
            shutil.copytree(before, folder)
        for name in deleted:
            (folder / name).unlink()
        for name, content in written.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        for revision in (branch, oid):
            self.hub.repositories["models", repo][revision] = oid, folder
        return oid
