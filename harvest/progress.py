"""The progress bar of a harvest that fills windows, and its speed."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType

from data.command.progress import Bar
from data.command.sizes import human_bytes
from data.store.schema import Schema


class FillProgress:
    """A bar over the tokens of the windows `owned` by a worker, of which `pending` are still to be filled.

    A context manager. The speed counts from the end of the first batch, in which the model may be compiled.
    """

    def __init__(self, schema: Schema, owned: Sequence[int], pending: Sequence[int], *, disable: bool) -> None:
        self._schema = schema
        self._tokens_per_row = schema.context_size / schema.layout.rows_per_context
        total, lacking = (sum(map(schema.layout.window_rows, windows)) for windows in (owned, pending))
        self._bar = Bar(
            total=int(total * self._tokens_per_row), initial=int((total - lacking) * self._tokens_per_row),
            desc="harvesting", unit="token", unit_scale=True, disable=disable,
        )  # fmt: skip
        self._n_bytes, self._said = 0, set[str]()
        self._first_batch_end: float | None = None
        self._rows_after_first = self._bytes_after_first = 0

    def __enter__(self) -> FillProgress:
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def wrote(self, rows: int, n_bytes: int, bottleneck: str) -> None:
        """Count a batch of rows that was written, and show the bytes per second and the pipeline's slowest stage."""
        self._n_bytes += n_bytes
        self._bar.update(round(rows * self._tokens_per_row))
        shown = [f"{human_bytes(self._n_bytes)} written", f"bottleneck {bottleneck}"]
        if self._first_batch_end is None:
            self._first_batch_end = time.perf_counter()
        else:
            self._rows_after_first += rows
            self._bytes_after_first += n_bytes
            elapsed = time.perf_counter() - self._first_batch_end
            shown.insert(0, f"{human_bytes(self._bytes_after_first / elapsed)}/s")
        self._bar.set_postfix_str(", ".join(shown), refresh=False)

    def wait_for(self, what: str, why: str = "") -> None:
        """Show in the bar what the harvest waits for, and print the sentence `why` if it was not printed before."""
        self._bar.set_description(f"harvesting (waiting for {what})")
        if why and why not in self._said and not self._bar.disable:
            self._said.add(why)
            Bar.write(why, file=sys.stderr)

    def end_waiting(self) -> None:
        """Show that the harvest goes on."""
        self._bar.set_description("harvesting")

    def skip(self, n_contexts: int) -> None:
        """Count contexts that an earlier run has written."""
        self._bar.update(round(n_contexts * self._schema.context_size))

    def repeat(self, window: int) -> None:
        """Take back the tokens of a window that is harvested again."""
        self._bar.update(-round(self._schema.layout.window_rows(window) * self._tokens_per_row))

    def tokens_per_second(self) -> float | None:
        """Return the speed from the end of the first batch until now; None before the second batch."""
        if self._first_batch_end is None or not self._rows_after_first:
            return None
        return self._rows_after_first * self._tokens_per_row / (time.perf_counter() - self._first_batch_end)
