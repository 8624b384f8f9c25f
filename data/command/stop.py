"""Orderly stopping on a signal, and its exit codes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

TRY_AGAIN, INTERRUPTED = 75, 130  # after SIGTERM (EX_TEMPFAIL) and after Ctrl-C; the same command continues the work
EXIT_CODES = {signal.SIGTERM: TRY_AGAIN, signal.SIGINT: INTERRUPTED}

Handler = Callable[[int, FrameType | None], None]


class StopRequest:
    """The request of a signal to stop the command, which sets `event` and the exit code."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.exit_code = TRY_AGAIN

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal: request the stop, and let a second signal end the process at once."""
        self.exit_code = EXIT_CODES[signal.Signals(number)]
        self.event.set()
        signal.signal(number, signal.SIG_DFL)
        os.write(2, b"\nstopping once the work so far is saved; a second signal ends it at once\n")


@contextmanager
def on_signals(handler: Handler) -> Iterator[None]:
    """Handle Ctrl-C and SIGTERM with `handler` inside the context."""
    before = {number: signal.signal(number, handler) for number in EXIT_CODES}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def exit_on_signals() -> None:
    """Make Ctrl-C and SIGTERM exit at once, during start-up imports, before there is any work to save."""
    for number, code in EXIT_CODES.items():
        signal.signal(number, lambda *_, code=code: os._exit(code))
