"""`harvest` and `train` under torchrun's elastic restart: one of two workers is killed at ten random moments.

    python benchmarks/whole/elastic.py [--kills 10] [--out benchmarks/results/elastic.json]

Each command runs once undisturbed and once with kills. A random worker gets SIGKILL after a random time, counted from
the start of the workers: between none and the undisturbed start-up time plus an eighth of the rest, so some kills hit
the start and the others the work. torchrun then starts all workers again. In the end the store, and the weights,
metrics and validations of the training, must be those of the undisturbed command, bit for bit. A command that ends
before ten kills is run again, with another output, for the rest of them.

The agent is that of torchrun's command, but its workers are forked from this process, which has imported the libraries.
The command imports them in each start, for longer than this work takes, so most kills would hit imports. ranks.py runs
the command itself.
"""

from __future__ import annotations

import argparse
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
from benchmarks.shared.torchrun import contents, differing
from tests.helpers.processes.torchrun import launch

WORKERS, RESTARTS = 2, 20
POLL_SECONDS = 0.02
PART = 8  # a kill comes at latest after the start and one such part of the work


@dataclass(frozen=True)
class Stage:
    """A command without its `--out`, and the file in `--out` that exists once it has begun its work."""

    name: str
    arguments: tuple[str, ...]
    begun: str


def stages(tokens: int, activations: int) -> list[Stage]:
    harvest = (
        "--model", "demo", "--tokens", str(tokens), "--context-size", "64", "--layers", "0-1", "--device", "cpu",
    )  # fmt: skip
    train = (
        "--store", "harvest.zarr", "--variant", "nsae,batchtopk", "--target-l0", "8", "--expansion", "4",
        "--batch-size", "256", "--activations", str(activations), "--validate-every", "25k", "--validate-rows", "1k",
        "--log-every", "2500", "--window", "10k", "--resample-interval", "50k", "--resample-rows", "2k",
        "--checkpoint-minutes", "0.02", "--device", "cpu",
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


def disturbed(
    stage: Stage, folder: Path, out: str, latest: float, kills: int, rng: random.Random
) -> list[dict[str, Any]]:
    """Run a stage and kill a random worker up to `kills` times, each at most `latest` seconds after the start."""
    running = Torchrun(stage, folder, out)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=50_000)
    parser.add_argument("--activations", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    options = parser.parse_args()
    rng, rows = random.Random(options.seed), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for stage in stages(options.tokens, options.activations):
            started, ended = undisturbed(stage, folder)
            begin, latest = time.monotonic(), started + (ended - started) / PART
            expected = folder / out_of(stage)
            files, others, runs = contents(expected), set[str](), 0
            kills: list[dict[str, Any]] = []
            while len(kills) < options.kills:
                out = f"killed-{runs}-{out_of(stage)}"
                kills += disturbed(stage, folder, out, latest, options.kills - len(kills), rng)
                others |= set(differing(folder / out, expected))
                runs += 1
            seconds = time.monotonic() - begin
            rows.append({
                "command": stage.name, "runs": runs, "kills": len(kills),
                "after the work had begun": sum(kill["work had begun"] for kill in kills),
                "equal": not others, "files": len(files), "weight files":
                sum(name.endswith(".safetensors") for name in files), "differing": sorted(others),
                "undisturbed, s": round(ended, 1), "with kills, s": round(seconds, 1), "moments": kills,
            })  # fmt: skip
            print({key: value for key, value in rows[-1].items() if key != "moments"}, flush=True)
    result_text = json.dumps({
        "machine": machine(), "benchmark": "elastic", "workers": WORKERS, "max restarts": RESTARTS,
        "seed": options.seed, "tokens": options.tokens, "activations": options.activations, "rows": rows,
    }, indent=2)  # fmt: skip
    if options.out:
        options.out.write_text(result_text + "\n", encoding="utf-8")
    if any(row["differing"] for row in rows):
        sys.exit("the results differ")


if __name__ == "__main__":
    main()
