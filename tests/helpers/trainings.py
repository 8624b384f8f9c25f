"""A small training on a small store: its options, and the files that it leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.helpers.fixture_types import Command, LocalStore

Start = Callable[..., tuple[int, str]]  # the fixture `start` of tests/train/output

WIDTHS = {"blocks.0.hook_mlp_out": 16, "blocks.1.hook_mlp_out": 16}
SMALL = [
    "--expansion", "4", "--batch-size", "64", "--activations", "4k", "--validate-every", "1k", "--log-every", "512",
    "--window", "1k", "--device", "cpu",
]  # fmt: skip
SHORT = [*SMALL, "--activations", "1k", "--validate-every", "512"]  # 15 steps


def train_runs(command: Command, store: LocalStore, out: Path, options: Sequence[object]) -> Path:
    """Train by the command, without a disturbance; return the experiment's folder."""
    done = command("train", "--store", store.path, "--out", out, *options)
    assert done.returncode == 0, done.stderr
    return out


def results(out: Path) -> dict[str, bytes]:
    """Return the content of an experiment's files by relative path, except those that hold times."""
    files = {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    return {name: content for name, content in files.items() if name not in ("timing.jsonl", "experiment.json")}


def records(path: Path) -> list[dict[str, Any]]:
    """Read a file of one JSON object per line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
