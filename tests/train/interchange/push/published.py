"""Shared parts of the tests of `train push`: tokens, the files of a run on the hub, and a load from it in a process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml

from data.errors import InputError
from tests.helpers.processes.zygote import Ended
from tests.helpers.servers.hub import Hub
from train import load_sae

TOKEN, OTHER_TOKEN = "hf_" + "SecretOfTheTest" * 2, "hf_" + "OfSomebodyElse" * 2
WEIGHTS = {"run.json", "metrics.jsonl", "final/sae.safetensors", "final/state.json"}
Command = Callable[..., Ended]


def save_loaded(address: str, path: str) -> None:
    try:
        sae = load_sae(address, layer=1)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    torch.save(sae.state_dict(), path)
    assert sae.source is not None
    print(sae.source.model, sae.source.rows)


def pushed(hub: Hub, repo: str, branch: str = "main") -> Path:
    return hub.repositories["models", repo][branch][1]


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def metadata(card: str) -> dict[str, Any]:
    _, text, _ = card.split("---\n", 2)
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded
