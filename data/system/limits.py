"""CPU and memory limits of this process: those of its control group (Linux, versions 1 and 2), not the whole host's."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

ROOT = Path("/")
MOST_OPEN_FILES = 1 << 16


def cpus(root: Path = ROOT) -> int:
    """Return the number of usable cores: the smaller of the CPU affinity and the control group's quota, at least 1."""
    quotas = [_quota(folder) for folder in _folders(root, "cpu")]
    # macOS has no sched_getaffinity
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([affinity, *(math.ceil(quota) for quota in quotas if quota)]))


def disk_threads() -> int:
    """Return how many threads may write, check or map local files at once: half of the cores; the others compute."""
    return max(1, cpus() // 2)


def write_threads(*, on_gpu: bool) -> int:
    """Return how many threads may write files beside a model: `disk_threads`, or all cores if it is on a GPU."""
    return cpus() if on_gpu else disk_threads()


def available_memory(root: Path = ROOT) -> int:
    """Return the bytes that can still be allocated: the smaller of the machine's and the control group's.

    Cached file pages that can be dropped at once count as free.
    """
    left = [_memory_left(folder) for folder in _folders(root, "memory")]
    return max(0, min([psutil.virtual_memory().available, *(bytes_ for bytes_ in left if bytes_ is not None)]))


def raise_open_files() -> None:
    """Raise this process's limit of open files to the allowed maximum, at most 65,536. The default is often 1024."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # macOS may refuse a limit that it reports as allowed
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """Yield the control group of this process and its parents, as far as a container shows them."""
    groups = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, names, path = line.split(":", 2)
        if names == "":  # version 2: one hierarchy for all controllers
            base = groups
        elif controller in names.split(","):
            base = groups / names if (groups / names).is_dir() else groups / controller
        else:
            continue
        folder = base / path.lstrip("/")
        while True:
            if folder.is_dir():
                yield folder
            if folder == base or base not in folder.parents:
                break
            folder = folder.parent


def _number(file: Path) -> float | None:
    """Return a file's first number; None if it has none, or `max`."""
    try:
        word = file.read_text(encoding="utf-8").split()[0]
    except (OSError, IndexError):
        return None
    return float(word) if word.lstrip("-").isdecimal() else None


def _quota(folder: Path) -> float | None:
    """Return a control group's CPU quota in cores; None without one."""
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        old, length = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        return old / length if old and old > 0 and length else None
    return float(quota) / float(period) if quota != "max" else None


def _memory_left(folder: Path) -> int | None:
    """Return the bytes that a control group's limit leaves; None without a limit."""
    for limit_name, used_name, cached_name in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit, used = _number(folder / limit_name), _number(folder / used_name)
        if limit is not None and used is not None:
            return int(limit - used + _stat(folder / "memory.stat", cached_name))
    return None


def _stat(file: Path, name: str) -> int:
    try:
        pairs = (line.split() for line in file.read_text(encoding="utf-8").splitlines())
        return next((int(pair[1]) for pair in pairs if pair[0] == name), 0)
    except OSError:
        return 0
