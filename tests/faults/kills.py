"""Trials that kill a command: before, after or in the middle of a file call, at a random moment, or by a power cut.

Each trial kills the command one to three times. Its files must then be undamaged, and committed work must not be
repeated. The same command then runs to its end, and must leave the files of the undisturbed command.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

from tests.faults.bench import Bench, Case, differences, files_of
from tests.helpers.processes.zygote import Ended, Fault, Zygote

MODES = ("before", "after", "torn", "any moment", "power cut")
KILLED = -9


def trial(bench: Bench, zygote: Zygote, case: Case, seed: int) -> tuple[str, int, list[str]]:
    """Run one trial; return the mode, the number of kills, and the problems."""
    rng = random.Random(f"{case.name} {seed}")
    mode = MODES[seed % len(MODES)]
    expected, calls = bench.expected(zygote, case), bench.calls(zygote, case)
    problems: list[str] = []
    kills = 0
    with bench.space(case) as space:
        for _ in range(rng.choice((1, 1, 2, 3))):
            before = counted(space, case)
            ended = kill_once(bench, zygote, case, space, mode, rng, len(calls))
            problems += redone(before, ended)
            if ended.code == 0:  # it ended before the chosen call
                break
            if ended.code != KILLED:
                return mode, kills, [f"ended with {ended.code}: {ended.stderr[-2000:]}"]
            kills += 1
            if mode == "power cut":
                lose_unsynced(space, ended.dirty)
        problems += damage(zygote, space, case)
        before = counted(space, case)
        ended = bench.run(zygote, case, space)
        problems += redone(before, ended)
        if ended.code != 0:
            return mode, kills, [*problems, f"then ended with {ended.code}: {ended.stderr[-2000:]}"]
        return mode, kills, problems + differences(files_of(space), expected)


def kill_once(
    bench: Bench, zygote: Zygote, case: Case, space: Path, mode: str, rng: random.Random, n_calls: int
) -> Ended:
    if mode == "any moment":
        running = bench.start(zygote, case, space)
        time.sleep(rng.uniform(0, bench.seconds(case)))
        running.kill()
        return running.wait()
    how = rng.choice(("before", "after", "torn")) if mode == "power cut" else mode
    return bench.run(zygote, case, space, Fault(how, at=int(n_calls * rng.random() ** 1.5)))


def lose_unsynced(space: Path, dirty: list[tuple[int, int, int]]) -> None:
    """Zero the bytes that were written and not synced, as a power cut may do. File names stay."""
    by_inode = {path.stat().st_ino: path for path in space.rglob("*") if path.is_file()}
    for inode, begin, end in dirty:
        path = by_inode.get(inode)
        if path is not None:
            with open(path, "rb+") as file:
                file.seek(begin)
                file.write(bytes(max(min(end, path.stat().st_size) - begin, 0)))


def counted(space: Path, case: Case) -> set[str]:
    """Return the committed files: lines of a store's commit table, or manifests of checkpoints."""
    if "--overwrite" in case.more:  # a killed --overwrite may begin again
        return set()
    pattern = "commit/c/**/*" if case.module == "harvest" else "checkpoints/*.json"
    return {"/" + str(path.relative_to(space)) for path in (space / case.out).glob(pattern) if path.is_file()}


def redone(before: set[str], ended: Ended) -> list[str]:
    again = (path for what, path in ended.calls if what == "rename" and path in before)
    return [f"{path} was committed, and is written again" for path in again]


def damage(zygote: Zygote, space: Path, case: Case) -> list[str]:
    """Run `analyze verify` on the store or experiment, if there is one, and return its problems."""
    if case.module == "harvest":
        present, arguments = (space / case.out / "zarr.json").exists(), ["--store", case.out]
    else:
        present, arguments = (space / case.out / "experiment.json").exists(), [case.out]
    if not present:
        return []
    ended = zygote.run("analyze", "verify", *arguments, folder=space)
    return [] if ended.code == 0 else [f"analyze verify, after a kill: {ended.code} {ended.stdout}{ended.stderr}"]
