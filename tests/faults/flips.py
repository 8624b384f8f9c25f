"""Trials with one flipped bit in a file of a store, an unfinished store, a run or a checkpoint.

The first command that reads the file must report the damage, or must read the same rows, tokens, statistics, weights
and measures as before.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from pathlib import Path

from tests.faults.bench import CASES, Bench, Case, differences, files_of
from tests.faults.kills import damage
from tests.helpers.processes.zygote import Ended, Fault, Zygote

BAD_INPUT = 2
# Damaged folders, by what reads them:
READ = ("store", "int8 store", "runs")  # the library
CONTINUED = ("half a store", "half a training")  # the command that continues them
TRAINED = ("training on a store",)  # `train`, whose weights are compared
WHERE = (*READ, *CONTINUED, *TRAINED)


def kind_of(path: Path) -> str:
    """Return a path with numbers and names of runs and windows replaced by `*`."""
    return re.sub(r"[0-9a-f]{8,}|\d+|baseline|nsae", "*", str(path))


def trial(bench: Bench, zygote: Zygote, where: str, seed: int) -> tuple[str, str, list[str]]:
    """Run one trial; return the kind of file, the result (reported, harmless, missed), and the problems."""
    rng = random.Random(f"{where} {seed}")
    original = _original(bench, zygote, where)
    with bench.space(CASES["harvest"]) as space:
        copy = os.link if where in READ else shutil.copyfile  # a continued command writes into files
        shutil.copytree(original, space, dirs_exist_ok=True, copy_function=copy)
        names = sorted(path.relative_to(space) for path in space.rglob("*") if path.is_file() and path.stat().st_size)
        names = [name for name in names if name.name != "timing.jsonl" and not name.name.startswith("lock")]
        kinds = sorted({kind_of(name) for name in names})
        kind = kinds[seed % len(kinds)]
        name = rng.choice([name for name in names if kind_of(name) == kind])
        flip(space / name, rng)
        result, problems = _read(bench, zygote, where, space)
        if where in CONTINUED and problems == differences({str(name): b""}, {}):  # the command did not need the file
            reported = damage(zygote, space, CASES["harvest" if where == "half a store" else "train"])
            result, problems = ("reported by verify", []) if reported else (result, problems)
        return f"{where}: {kind}", result, [f"{name}: {problem}" for problem in problems]


def flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.unlink()  # it may be a hard link to the original
    path.write_bytes(content)


def _read(bench: Bench, zygote: Zygote, where: str, space: Path) -> tuple[str, list[str]]:
    if where in READ:
        reference = _probe(zygote, where, _original(bench, zygote, where))
        ended = _probe(zygote, where, space)
        answer = json.loads(ended.stdout) if ended.code == 0 else {}
        if "reported" in answer:
            return "reported", []
        if "read" not in answer:
            return "missed", [f"{ended.code} {ended.stderr[-1500:]}"]
        same = answer == json.loads(reference.stdout)
        return ("harmless", []) if same else ("missed", [f"read as if undamaged: {answer}"])
    if where in CONTINUED:
        case = CASES["harvest" if where == "half a store" else "train"]
        return _compare(bench.run(zygote, case, space), files_of(space), bench.expected(zygote, case))
    case = CASES["train"]
    arguments = [str(space / "s.zarr") if a == str(bench.folder / "store.zarr") else a for a in bench.arguments(case)]
    ended = zygote.run("train", *arguments, folder=space)
    weights = {name: content for name, content in files_of(space).items() if name.endswith(".safetensors")}
    expected = {n: c for n, c in bench.expected(zygote, case).items() if n.endswith("/final/state.safetensors")}
    return _compare(ended, {name: content for name, content in weights.items() if name in expected}, expected)


def _compare(ended: Ended, files: dict[str, bytes], expected: dict[str, bytes]) -> tuple[str, list[str]]:
    if ended.code == BAD_INPUT and "Traceback" not in ended.stderr:
        return "reported", []
    if ended.code != 0:
        return "missed", [f"{ended.code} {ended.stderr[-1500:]}"]
    wrong = differences(files, expected)
    return ("missed", wrong) if wrong else ("reported" if "damaged" in ended.stderr else "harmless", [])


def _probe(zygote: Zygote, where: str, folder: Path) -> Ended:
    kind, name = ("runs", "runs") if where == "runs" else ("store", "s.zarr")
    return zygote.run(f"tests.faults.probe:{kind}", folder / name, folder=folder)


def _original(bench: Bench, zygote: Zygote, where: str) -> Path:
    """Return the folder whose copy is damaged; it is made once."""
    folder = bench.folder / where
    with bench.lock:
        if not folder.exists():
            _make_original(bench, zygote, where, folder)
    return folder


def _make_original(bench: Bench, zygote: Zygote, where: str, folder: Path) -> None:
    making = folder.with_name(f"{where} making")
    making.mkdir()
    if where in ("store", "int8 store", "training on a store"):
        case = CASES["harvest int8" if where == "int8 store" else "harvest"]
        assert bench.run(zygote, case, making).code == 0
    elif where == "runs":
        assert bench.run(zygote, CASES["train"], making).code == 0
    else:
        _stop_half_way(bench, zygote, CASES["harvest" if where == "half a store" else "train"], making)
    making.rename(folder)


def _stop_half_way(bench: Bench, zygote: Zygote, case: Case, space: Path) -> None:
    """Kill the command after half of its progress records or checkpoints."""
    calls = bench.calls(zygote, case)
    last = "progress.npz" if case.module == "harvest" else "checkpoints"
    places = [i for i, (what, path) in enumerate(calls) if what == "rename" and last in path]
    bench.run(zygote, case, space, Fault("after", at=places[len(places) // 2] + 1))
