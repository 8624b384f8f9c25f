"""Trials with two equal commands at once in one folder: one completes, the other is refused or finds it done."""

from __future__ import annotations

import random
import time

from tests.faults.bench import Bench, Case, differences, files_of
from tests.helpers.processes.zygote import Zygote

BAD_INPUT = 2


def trial(bench: Bench, zygote: Zygote, case: Case, seed: int) -> tuple[str, int, list[str]]:
    """Run one trial; return its name, the number of refused commands, and the problems."""
    rng = random.Random(f"{case.name} {seed}")
    expected = bench.expected(zygote, case)
    with bench.space(case) as space:
        first = bench.start(zygote, case, space)
        time.sleep(rng.choice((0, rng.uniform(0, 0.2), rng.uniform(0, bench.seconds(case)))))
        second = bench.start(zygote, case, space)
        both = first.wait(), second.wait()
        codes = [ended.code for ended in both]
        problems = []
        if sorted(codes) not in ([0, 0], [0, BAD_INPUT]):
            problems.append(f"they ended with {codes}: {both[0].stderr[-1000:]} {both[1].stderr[-1000:]}")
        for ended in both:
            if ended.code == BAD_INPUT and ("Traceback" in ended.stderr or "another" not in ended.stderr.lower()):
                problems.append(f"refused without saying why: {ended.stderr[-1000:]}")
        problems += differences(files_of(space), expected)
        return "at once", codes.count(BAD_INPUT), problems
