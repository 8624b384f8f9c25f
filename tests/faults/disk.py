"""Trials with a full disk, a used-up quota, revoked rights, and a device that returns errors.

All calls that change files fail from the n-th on; the seed chooses n. The command must end with its documented exit
code and one sentence. Run again without the fault, it must leave the files of the undisturbed command.
"""

from __future__ import annotations

import errno
import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.command.base import BAD_INPUT
from data.command.stop import TRY_AGAIN
from tests.faults.bench import Bench, Case, differences, files_of
from tests.faults.kills import damage
from tests.helpers.processes.zygote import Ended, Fault, Zygote

# Fault → (error number, kinds of calls, number of calls or 0 for all later ones, documented exit code or None for any).
WAYS = {
    "full": (errno.ENOSPC, ("create", "write"), 0, TRY_AGAIN),
    "quota": (errno.EDQUOT, ("create", "write"), 0, TRY_AGAIN),
    "rights": (errno.EACCES, ("create", "rename", "remove"), 0, 2),
    "read-only": (errno.EROFS, ("create", "write", "rename", "remove", "resize"), 0, 2),
    "a write fails": (errno.EIO, ("write",), 1, None),
    "a sync fails": (errno.EIO, ("sync",), 1, None),
}


def trial(bench: Bench, zygote: Zygote, case: Case, seed: int) -> tuple[str, int, list[str]]:
    """Run one trial; return the fault's name, 1 if the command failed, and the problems."""
    way = list(WAYS)[seed % len(WAYS)]
    error, kinds, span, code = WAYS[way]
    rng = random.Random(f"{case.name} {seed}")
    expected, calls = bench.expected(zygote, case), bench.calls(zygote, case)
    fault = Fault("fail", at=int(len(calls) * rng.random()), error=error, kinds=kinds, span=span)
    with bench.space(case) as space:
        ended = bench.run(zygote, case, space, fault)
        problems = [] if ended.code == 0 else complaints(ended, code)
        failed = int(ended.code != 0)
        problems += damage(zygote, space, case)
        ended = bench.run(zygote, case, space)
        if ended.code != 0:
            return way, failed, [*problems, f"then ended with {ended.code}: {ended.stderr[-2000:]}"]
        return way, failed, problems + differences(files_of(space), expected)


def complaints(ended: Ended, code: int | None) -> list[str]:
    if code is None:
        return []
    wrong = []
    if ended.code != code:
        wrong.append(f"ended with {ended.code} where {code} is promised: {ended.stderr[-1500:]}")
    if "Traceback" in ended.stderr:
        wrong.append(f"a traceback: {ended.stderr[-1500:]}")
    return wrong


def tmpfs_trial(bench: Bench, zygote: Zygote, case: Case, seed: int) -> tuple[str, int, list[str]]:
    """Run one trial on a full tmpfs, which is then made larger. Only root can mount one."""
    expected = bench.expected(zygote, case)
    size = sum(len(content) + 4096 for content in expected.values())
    with bench.space(case) as space, mounted(space, int(size * random.Random(seed).uniform(0.05, 0.9))):
        ended = bench.run(zygote, case, space, Fault("none"))
        failed = int(ended.code != 0)
        refused = " are free; " in ended.stderr  # `harvest` checks the free space before it begins
        problems = complaints(ended, BAD_INPUT if refused else TRY_AGAIN) if failed else []
        _mount("-o", f"remount,size={16 * size + (64 << 20)}", space)
        ended = bench.run(zygote, case, space)
        if ended.code != 0:
            return "small tmpfs", failed, [*problems, f"then ended with {ended.code}: {ended.stderr[-2000:]}"]
        return "small tmpfs", failed, problems + differences(files_of(space), expected)


def can_mount(folder: Path) -> bool:
    if os.geteuid() != 0:
        return False
    try:
        with mounted(folder, 1 << 20):
            return True
    except subprocess.CalledProcessError:
        return False


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[None]:
    _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def _mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)
