"""Read damaged files of other libraries' SAEs: all must be read or refused by an InputError, and run no code.

    python benchmarks/analyze/fuzz_imports.py [--files 10000]

An audit hook stops the script if an unpickler looks up a class, or a process or a connection is started.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.helpers.saes.hostile import CASES, fuzzed, valid_folders

FORBIDDEN = (
    "pickle.find_class",
    "os.system",
    "subprocess.Popen",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "socket.connect",
)


def stop_at_code(event: str, arguments: tuple[Any, ...]) -> None:
    if event in FORBIDDEN:
        raise SystemExit(f"a file led to {event} {arguments!r:.200}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    generator, outcomes, began = random.Random(options.seed), Counter[tuple[str, str]](), time.perf_counter()
    with tempfile.TemporaryDirectory() as root:
        folders = valid_folders(Path(root))
        sys.addaudithook(stop_at_code)
        for i in range(options.files):
            case = CASES[i % len(CASES)]
            outcomes[case, fuzzed(folders[case], generator, Path(root) / "fuzzed")] += 1
    for case in CASES:
        print(f"{case:20} read {outcomes[case, 'read']:6,}   refused {outcomes[case, 'refused']:6,}")
    print(f"{options.files:,} files in {time.perf_counter() - began:.0f} s; no other error, no code run")


if __name__ == "__main__":
    main()
