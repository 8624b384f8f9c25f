"""`harvest` and `train` under torchrun's elastic restart: one of two workers is killed at ten random moments.

    python benchmarks/whole/elastic.py [--kills 10] [--out benchmarks/results/elastic.json]

Each command runs once undisturbed and once with kills. A random worker gets SIGKILL after a random time, counted from
the start of the workers: between none and the undisturbed start-up time plus an eighth of the rest, so some kills hit
the start and the others the work. torchrun then starts all workers again. In the end the store, and the weights,
metrics and validations of the training, must be those of the undisturbed command, bit for bit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harvest.run  # noqa: F401  # imported before the workers are forked
import train.run  # noqa: F401
from benchmarks.shared.measure import machine
from tests.helpers.processes.torchrun import launch

WORKERS, RESTARTS = 2, 20
POLL_SECONDS = 0.02
PART = 8  # a kill comes at latest after the start and one such part of the work, so ten kills do not miss the work
TIMES = {"timing.jsonl", "experiment.json"}  # files that hold clock times


@dataclass(frozen=True)
class Stage:
    """A command without its `--out`, and the file in `--out` that exists once it has begun its work."""

    name: str
    arguments: tuple[str, ...]
    begun: str


def stages(tokens: str, activations: str) -> list[Stage]:
    harvest = (
        "--model", "demo", "--tokens", tokens, "--context-size", "64", "--layers", "0-1", "--device", "cpu",
    )  # fmt: skip
    train = (
        "--store", "harvest.zarr", "--variant", "nsae,batchtopk", "--target-l0", "8", "--expansion", "4",
        "--batch-size", "256", "--activations", activations, "--validate-every", "100k", "--validate-rows", "1k",
        "--log-every", "10k", "--window", "50k", "--resample-interval", "200k", "--resample-rows", "2k",
        "--checkpoint-minutes", "0.05", "--device", "cpu",
    )  # fmt: skip
    return [Stage("harvest", harvest, "zarr.json"), Stage("train", train, "checkpoints")]


class Torchrun:
    """A command under torchrun's agent with two workers; `out` is where its output goes.

    All processes are forked from this one, which has imported the libraries: a start takes a moment, not seconds.
    """

    def __init__(self, stage: Stage, folder: Path, out: str) -> None:
        self.begun = folder / out / stage.begun
        self.log = folder / f"{out}.log"
        self.pid = os.fork()
        if not self.pid:
            os.chdir(folder)
            with open(self.log, "wb") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            code = 1
            try:
                launch(str(WORKERS), str(RESTARTS), stage.name, *stage.arguments, "--out", out)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        self.code: int | None = None  # that of torchrun, once it has ended

    def has_ended(self) -> bool:
        if self.code is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if ended else None
        return self.code is not None

    def workers(self) -> list[int]:
        """Return the process ids of the workers that run."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="utf-8").split()
        return [int(child) for child in children if _is_running(int(child))]

    def wait_for_workers(self, ended: Sequence[int] = ()) -> list[int]:
        """Wait until all workers run and none of `ended` is among them; an empty list once torchrun has ended."""
        while not self.has_ended():
            workers = self.workers()
            if len(workers) == WORKERS and not set(workers) & set(ended):
                return workers
            time.sleep(POLL_SECONDS)
        return []

    def wait(self, seconds: float = math.inf) -> bool:
        """Wait for the end, at most so long; return whether it has ended. Exits with the log if it has failed."""
        deadline = time.monotonic() + seconds
        while not self.has_ended() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        if self.code:
            sys.exit(self.log.read_text(encoding="utf-8"))
        return self.code is not None


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def undisturbed(stage: Stage, folder: Path) -> tuple[float, float]:
    """Run a stage; return the seconds until it has begun its work, and until its end."""
    began = time.monotonic()
    running = Torchrun(stage, folder, out_of(stage))
    while not (running.begun.exists() or running.has_ended()):
        time.sleep(POLL_SECONDS)
    started = time.monotonic() - began
    running.wait()
    return started, time.monotonic() - began


def disturbed(stage: Stage, folder: Path, latest: float, kills: int, rng: random.Random) -> list[dict[str, Any]]:
    """Run a stage and kill a random worker `kills` times, each at most `latest` seconds after the workers' start."""
    running = Torchrun(stage, folder, f"killed-{out_of(stage)}")
    records: list[dict[str, Any]] = []
    workers: list[int] = []
    while len(records) < kills:
        workers = running.wait_for_workers(workers)
        moment = rng.uniform(0, latest)
        if running.wait(moment):
            break  # before all kills
        rank, has_begun = rng.randrange(WORKERS), running.begun.exists()
        try:
            os.kill(workers[rank], signal.SIGKILL)
        except ProcessLookupError:  # it has just done its work
            continue
        records.append({"rank": rank, "seconds after the start": round(moment, 2), "work had begun": has_begun})
    running.wait()
    return records


def out_of(stage: Stage) -> str:
    return "harvest.zarr" if stage.name == "harvest" else "runs"


def contents(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of all files below a folder by their paths, except those that hold times."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in TIMES
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--tokens", default="100k")
    parser.add_argument("--activations", default="2M")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    options = parser.parse_args()
    rng, rows = random.Random(options.seed), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for stage in stages(options.tokens, options.activations):
            started, ended = undisturbed(stage, folder)
            begin = time.monotonic()
            kills = disturbed(stage, folder, started + (ended - started) / PART, options.kills, rng)
            seconds = time.monotonic() - begin
            expected, result = (contents(folder / f"{prefix}{out_of(stage)}") for prefix in ("", "killed-"))
            differing = sorted(name for name in {*expected, *result} if expected.get(name) != result.get(name))
            rows.append({
                "command": stage.name, "kills": len(kills),
                "after the work had begun": sum(kill["work had begun"] for kill in kills),
                "equal": not differing, "files": len(expected), "weight files":
                sum(name.endswith(".safetensors") for name in expected), "differing": differing,
                "undisturbed, s": round(ended, 1), "with kills, s": round(seconds, 1), "moments": kills,
            })  # fmt: skip
            print({key: value for key, value in rows[-1].items() if key != "moments"}, flush=True)
    result_text = json.dumps({
        "machine": machine(), "benchmark": "elastic", "workers": WORKERS, "max restarts": RESTARTS,
        "seed": options.seed, "rows": rows,
    }, indent=2)  # fmt: skip
    if options.out:
        options.out.write_text(result_text + "\n", encoding="utf-8")
    if any(row["differing"] or row["kills"] < options.kills for row in rows):
        sys.exit("the results differ, or the command ended before all kills")


if __name__ == "__main__":
    main()
