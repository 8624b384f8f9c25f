"""Schedules over training: pure functions of the rows (activations) seen.

`Schedule` gives the factors of the learning rate and of the sparsity coefficient, `Resampling` the steps after which
dead features are restarted.
"""

from __future__ import annotations

from dataclasses import dataclass

LENGTHS = ("lr_warmup", "l1_warmup", "lr_decay")  # fields of `Schedule` that may differ between runs
SHARED = (*LENGTHS, "clip")  # fields of a run that its experiment has instead if all runs agree


@dataclass(frozen=True)
class Schedule:
    """Lengths in rows. 0 means no warm-up or decay; the post has none."""

    total: int
    lr_warmup: int = 0
    l1_warmup: int = 0
    lr_decay: int = 0  # the last rows, over which the learning rate falls linearly to 0

    def lr(self, seen: int, batch_size: int) -> float:
        """Return the factor of the learning rate for the step that follows `seen` rows."""
        return min(_ramp(seen + batch_size, self.lr_warmup), _ramp(self.total - seen, self.lr_decay))

    def l1(self, seen: int, batch_size: int) -> float:
        """Return the factor of the sparsity coefficient for the step that follows `seen` rows."""
        return _ramp(seen + batch_size, self.l1_warmup)


@dataclass(frozen=True)
class Resampling:
    """The schedule of restarts of dead features (loop/resample.py): every `interval` rows, at most `at_most` times.

    A feature is restarted if it fired in at most `threshold` of the last `window` rows. New inputs are drawn from the
    next `rows` rows.
    """

    interval: int
    window: int
    threshold: float
    at_most: int
    rows: int

    def due(self, seen: int, now: int) -> bool:
        """Return whether features are restarted after the step from `seen` to `now` rows."""
        return seen // self.interval < min(now // self.interval, self.at_most)

    def window_begins(self, seen: int, now: int) -> bool:
        """Return whether the counts start at 0 after the step from `seen` to `now` rows, because the window begins.

        If the window is about as long as the interval, it begins right after the restart before.
        """
        due = self.due(seen, now)
        if due or self.window + (now - seen) > self.interval:
            return due
        next_step = 2 * now - seen
        return (now + self.window - 1) // self.interval < (next_step + self.window - 1) // self.interval


def _ramp(rows: int, length: int) -> float:
    return min(rows / length, 1.0) if length else 1.0
