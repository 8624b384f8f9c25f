"""Commands under torchrun, and the comparison of the folders that they write."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

TIMES = {"timing.jsonl", "experiment.json"}  # files that hold clock times


def command(n: int, module: str, *arguments: str, restarts: int = 0) -> list[str]:
    """Return the command of `python -m module arguments` by n processes; one process is started without torchrun."""
    if n == 1:
        return [sys.executable, "-m", module, *arguments]
    agent = [
        "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n), "--max-restarts", str(restarts),
        "--monitor-interval", "0.1",
    ]  # fmt: skip
    return [sys.executable, *agent, "-m", module, *arguments]


def environment() -> dict[str, str]:
    """Return the environment of a command: one thread per process, as torchrun sets it, because sums depend on it."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def contents(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of all files below a folder by their paths, except those that hold times."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in TIMES
    }


def differing(folder: Path, expected: Path) -> list[str]:
    """List the paths of the files that only one folder has, or that have other bytes, except those that hold times."""
    files, theirs = contents(folder), contents(expected)
    return sorted(name for name in {*files, *theirs} if files.get(name) != theirs.get(name))
