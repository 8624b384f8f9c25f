"""Run trials, log one line per trial, and print the table of docs/reliability.md: `python -m tests.faults`."""

from __future__ import annotations

import argparse
import collections
import json
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.faults import disk, flips, kills, writers
from tests.faults.bench import CASES, Bench
from tests.helpers.processes.zygote import Zygote

# part → (cases, trials per case in a short run, trials per case in a full run)
PARTS: dict[str, tuple[tuple[str, ...], int, int]] = {
    "kills": (tuple(CASES), 2, 55),
    "disk": (tuple(CASES), 6, 30),
    "tmpfs": (("harvest", "train"), 1, 5),
    "flips": (flips.WHERE, 10, 170),
    "writers": (("harvest", "train"), 1, 15),
    "fuzz": (("store", "run"), 1, 50),
}
FUZZED = 1000  # inputs per trial
Trial = tuple[str, str, int]


def main() -> None:
    options = arguments()
    log = options.log
    done = {(line["part"], line["case"], line["seed"]) for line in lines_of(log)}
    todo = [trial for trial in trials(options) if trial not in done]
    print(f"{len(done)} trials are in {log}, {len(todo)} remain", file=sys.stderr)
    run_all(todo, log, options.jobs)
    failed = [line for line in lines_of(log) if line["problems"]]
    print(table(lines_of(log)))
    for line in failed[:20]:
        print(
            f"\n{line['part']} {line['case']} seed {line['seed']} ({line['how']}):", *line["problems"][:5], sep="\n  "
        )
    sys.exit(bool(failed))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument(
        "--full", action="store_true", help="run the number of trials that the documented figures report"
    )
    parser.add_argument("--only", help=f"parts to run, separated by commas: {', '.join(PARTS)}")
    parser.add_argument("--case", help="run only this case, such as 'train --overwrite'")
    parser.add_argument("--count", type=int, help="trials per case")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the first trial; each trial depends only on its seed"
    )
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--log",
        type=Path,
        default=Path("faults.jsonl"),
        help="file with one JSON line per trial; trials in it are not repeated",
    )
    return parser.parse_args()


def trials(options: argparse.Namespace) -> Iterator[Trial]:
    only = options.only.split(",") if options.only else list(PARTS)
    for part in only:
        cases, few, many = PARTS[part]
        count = options.count or (many if options.full else few)
        for case in cases:
            if options.case in (None, case):
                yield from ((part, case, seed) for seed in range(options.seed, options.seed + count))


def run_all(todo: Iterable[Trial], log: Path, jobs: int) -> None:
    """Run trials in `jobs` threads, which share one warm process."""
    pending: queue.SimpleQueue[Trial] = queue.SimpleQueue()
    ordered = sorted(todo, key=lambda trial: (list(PARTS).index(trial[0]), trial[2]))
    for trial in ordered:
        pending.put(trial)
    if not ordered:
        return
    with (
        TemporaryDirectory(prefix="faults-") as folder,
        Zygote(faults=True) as zygote,
        ThreadPoolExecutor(jobs) as pool,
    ):
        bench, lock = Bench(Path(folder).resolve(), zygote), threading.Lock()
        for done in [pool.submit(work, pending, bench, zygote, log, lock) for _ in range(jobs)]:
            done.result()


def work(pending: queue.SimpleQueue[Trial], bench: Bench, zygote: Zygote, log: Path, lock: threading.Lock) -> None:
    while True:
        try:
            trial = pending.get_nowait()
        except queue.Empty:
            return
        began = time.monotonic()
        how, n, problems = run_one(bench, zygote, trial)
        part, case, seed = trial
        line = {
            "part": part, "case": case, "seed": seed, "how": how, "n": n, "problems": problems,
            "seconds": round(time.monotonic() - began, 2),
        }  # fmt: skip
        with lock, open(log, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def run_one(bench: Bench, zygote: Zygote, trial: Trial) -> tuple[str, Any, list[str]]:
    part, case, seed = trial
    one: dict[str, Callable[..., tuple[str, Any, list[str]]]] = {
        "kills": kills.trial, "disk": disk.trial, "writers": writers.trial,
    }  # fmt: skip
    if part in one:
        return one[part](bench, zygote, CASES[case], seed)
    if part == "tmpfs":
        if not disk.can_mount(bench.folder / "old"):
            return "not run: nothing can be mounted", 0, []
        return disk.tmpfs_trial(bench, zygote, CASES[case], seed)
    if part == "flips":
        return flips.trial(bench, zygote, case, seed)
    ended = zygote.run("tests.faults.probe:fuzz", case, FUZZED, seed, folder=bench.folder)
    return "hostile files", FUZZED, [] if ended.code == 0 else [f"{ended.code} {ended.stderr[-2000:]}"]


def lines_of(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []


def table(lines: list[dict[str, Any]]) -> str:
    """Return a Markdown table with a line per part, case and mode."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = collections.defaultdict(list)
    for line in lines:
        how = line["case"] if line["part"] == "flips" else line["how"]
        groups[line["part"], line["case"], how].append(line)
    rows = ["| part | case | mode | trials | outcomes | failures |", "|---|---|---|---|---|---|"]
    for (part, case, how), of_group in sorted(groups.items(), key=lambda item: list(PARTS).index(item[0][0])):
        if part == "flips":
            counts = collections.Counter(line["n"] for line in of_group)
            of_them = ", ".join(f"{n} {word}" for word, n in sorted(counts.items()))
        else:
            words = {
                "kills": "kills",
                "disk": "with a failed call",
                "tmpfs": "filled",
                "writers": "refused",
                "fuzz": "inputs",
            }
            of_them = f"{sum(line['n'] for line in of_group)} {words[part]}"
        wrong = sum(bool(line["problems"]) for line in of_group)
        rows.append(f"| {part} | {case} | {how} | {len(of_group)} | {of_them} | {wrong} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
