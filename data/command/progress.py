"""Progress of a long command: a bar on a terminal, and one line per minute in a batch job's log."""

from __future__ import annotations

import _thread
import sys
import threading
import time
from typing import Any

from tqdm import tqdm

LOG_SECONDS = 60.0


class Bar(tqdm):  # type: ignore[misc]
    """tqdm's bar. Without a terminal it prints one line per minute: stage, count, total, rate, time left.

    The line is printed even if the count does not change, for example during a long validation.
    """

    disable, _terminal = True, True  # defaults for `close`, if a signal interrupts the constructor

    def __init__(self, *args: Any, **options: Any) -> None:
        self._terminal, self._closed = sys.stderr.isatty(), threading.Event()
        self._logged: tuple[float, int] | None = None
        quieter = {} if self._terminal else {"mininterval": 1.0, "dynamic_ncols": False}
        super().__init__(*args, **{**quieter, **options})
        if not (self._terminal or self.disable):
            # Not threading.Thread: a signal during its start would print a traceback.
            _thread.start_new_thread(self._keep_logging, ())

    def _keep_logging(self) -> None:
        while not self._closed.wait(LOG_SECONDS / 6):
            self.refresh()

    def display(self, msg: str | None = None, pos: int | None = None) -> Any:
        if self._terminal:
            return super().display(msg, pos)
        now = time.monotonic()
        finished = self.total is not None and self.n >= self.total
        if self._logged is None or now - self._logged[0] >= LOG_SECONDS or (finished and self._logged[1] != self.n):
            self._logged = now, self.n
            print(log_line(self.format_dict), file=sys.stderr, flush=True)
        return True

    def close(self) -> None:
        if self._terminal or self.disable:
            super().close()
        else:
            self._closed.set()
            self.refresh()
            self.disable = True
            self._decr_instances(self)

    def clear(self, *args: Any, **options: Any) -> None:
        if self._terminal:
            super().clear(*args, **options)


def log_line(facts: dict[str, Any]) -> str:
    """Return the line for tqdm's `format_dict`: `training: 1.20M of 2.50M rows, 560 rows/s, 38:41 left, loss …`."""
    scale = tqdm.format_sizeof if facts["unit_scale"] else str
    n, total, rate, units = facts["n"], facts["total"], facts["rate"], f"{facts['unit']}s"
    if rate is None and facts["elapsed"] > 0:
        rate = (n - facts["initial"]) / facts["elapsed"]
    parts = [scale(n) + (f" of {scale(total)}" if total else "") + f" {units}"]
    if rate:
        parts.append(f"{scale(rate) if facts['unit_scale'] else f'{rate:.3g}'} {units}/s")
        if total:
            parts.append(f"{tqdm.format_interval(max(total - n, 0) / rate)} left")
    if facts["postfix"]:
        parts.append(str(facts["postfix"]))
    return f"{facts['prefix'].removesuffix(': ')}: {', '.join(parts)}"
