"""Contestants of a benchmark: one process each, which does its step when told to, so that they can take turns.

A contestant is a command whose process calls `serve`. Environments may differ (benchmarks/peers); memory and threads
are each one's own, and nobody computes while another one is timed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def serve(
    step: Callable[[], object], *, steps: int = 1, settle: Callable[[], object] = lambda: None, **facts: Any
) -> None:
    """Say what is known of the contestant, then for each line that comes take steps and answer with one's seconds.

    `settle` waits for a device that works on after a call has returned.
    """
    print(json.dumps(facts), flush=True)
    for _ in sys.stdin:
        settle()
        begin = time.perf_counter()
        for _ in range(steps):
            step()
        settle()
        print(json.dumps((time.perf_counter() - begin) / steps), flush=True)


class Contestant:
    """A process under way; `facts` is what it said of itself."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.facts: dict[str, Any] = {}

    def ready(self) -> None:
        """Wait until it has started, which all do at once."""
        self.facts = json.loads(self._answer())

    def step(self) -> float:
        """Seconds of one step."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(json.loads(self._answer()))

    def end(self) -> None:
        self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout
        for line in self._process.stdout:
            if line[:1] in "{0123456789":  # libraries may print, too
                return line
        raise RuntimeError(f"{self._process.args!r} ended with {self._process.wait()}")


def compete(commands: Mapping[str, Sequence[str]], *, rounds: int, steps: int) -> dict[str, dict[str, Any]]:
    """Each contestant's facts and its seconds, in rounds of some steps each in turn, of which the first warms it up."""
    contestants = {name: Contestant(command) for name, command in commands.items()}
    for contestant in contestants.values():
        contestant.ready()
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, contestant in contestants.items():
            taken = [contestant.step() for _ in range(steps)]
            if number:
                times[name] += taken
    for contestant in contestants.values():
        contestant.end()
    return {name: {"facts": contestants[name].facts, "seconds": taken} for name, taken in times.items()}
