"""A server that answers as the hub does, and the commands that push to it and load from it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.processes.zygote import Ended, Zygote
from tests.helpers.servers.hub import Hub
from tests.train.interchange.push.published import OTHER_TOKEN, TOKEN, Command

PUBLISHED = "tests.train.interchange.push.published"


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with two users; TOKEN writes to the repositories of `me`."""
    with Hub() as server:
        server.uploads.folder = tmp_path_factory.mktemp("hub")
        server.uploads.accounts = {"me": TOKEN, "other": OTHER_TOKEN}
        server.start()
        yield server
        server.shutdown()


@pytest.fixture(scope="session")
def zygote(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    removed = {name: None for name in os.environ if name.startswith("HF_")}
    environment = {
        **removed, "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(tmp_path_factory.mktemp("home")), "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1",
        "HF_TOKEN": TOKEN,
    }  # fmt: skip
    warm = ["train.cli", "train.push.push", "train.hub.fetch", "train.output.load", PUBLISHED]
    with Zygote(warm, keep_imports=False, environment=environment) as started:
        yield started


@pytest.fixture
def push(zygote: Zygote, tmp_path: Path) -> Command:
    """Run `train push`; `more` is added to the environment."""

    def run(*arguments: object, patches: dict[str, Any] | None = None, **more: str | None) -> Ended:
        return zygote.run("train", "push", *arguments, folder=tmp_path, environment=more, patches=patches)

    return run


@pytest.fixture
def load(zygote: Zygote, tmp_path: Path) -> Command:
    """Save the tensors of `load_sae(address, layer=1)` in loaded.pt, by a process that knows the hub."""

    def run(address: str, *, patches: dict[str, Any] | None = None, **more: str | None) -> Ended:
        arguments = (address, tmp_path / "loaded.pt")
        return zygote.run(f"{PUBLISHED}:save_loaded", *arguments, folder=tmp_path, environment=more, patches=patches)

    return run
