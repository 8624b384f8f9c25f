"""The rows of a store that is followed: which batches can be read so far, and which windows are needed no more.

A harvest that keeps the store within a size removes windows once all trainings that follow it have given them up. A
training gives up the windows that no batch after its newest checkpoint reads, so a killed one finds its rows again. If
the harvest waits for windows, the training writes a checkpoint as soon as that gives them up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from data.errors import DamagedError, InputError, Stopped
from data.shuffle.stream import DEFAULT_POOL, training_order
from data.shuffle.windows import WindowSchedule
from data.store.reader import Store, open_store
from data.store.writing.followers import Follower, requested_windows
from data.store.writing.lifecycle import worker_lock
from data.system.lock import is_held
from train.experiment import Experiment
from train.loop.following import batches_ahead

POLL_SECONDS = 1.0
MARGIN = 2  # batches that a step reads: its own, and one that is copied to a GPU
SOON = 64  # batches; when fewer can be read, it is time to look for new ones

Say = Callable[[str], None]


class Feed:
    """The windows of the store that the experiment in folder `out` follows.

    store: its newest snapshot. available: number of batches whose rows exist.
    """

    def __init__(self, store: Store, experiment: Experiment, out: Path) -> None:
        order, _ = training_order(
            store, pool=DEFAULT_POOL, seed=experiment.data_seed, mixed_windows=experiment.mixed_windows
        )
        assert experiment.mixed_windows is not None
        layout = store.layout
        self._schedule = WindowSchedule(order, experiment.batch_size, layout.n_windows)
        self._first = min(order.shards.windows[0] + experiment.mixed_windows, layout.n_windows)
        ahead = max(MARGIN, batches_ahead(experiment))
        needs = max(self._first, self._schedule.most_at_once(ahead))
        self._follower = Follower(str(out.absolute()), store.identity, 0, needs)
        self._looked = self._asked = 0.0
        self.store, self._windows = store, leading_windows(store)
        self.available = self._schedule.readable(self._windows)

    def look(self) -> None:
        """Take a new snapshot of the store, unless it was complete or the last one is less than a second old."""
        if self.store.complete or time.monotonic() - self._looked < POLL_SECONDS:
            return
        self._looked = time.monotonic()
        try:
            store = open_store(self.store.path, cache=self.store.cache)
        except DamagedError:  # the harvest rewrites the commit table at its end, and may have removed the old one
            time.sleep(POLL_SECONDS)
            store = open_store(self.store.path, cache=self.store.cache)
        windows = leading_windows(store)
        if windows >= self._windows:  # else it was removed while it was read
            self.store, self._windows, self.available = store, windows, self._schedule.readable(windows)

    def start(self, stop: threading.Event, say: Say) -> None:
        """Register the training, and wait for the windows from which inputs are normalised and for held-out rows.

        Raises Stopped once `stop` is set.
        """
        if isinstance(self.store.path, Path) and not self._follower.path(self.store.path).exists():
            self._write()  # else an earlier start did, and its checkpoint may be later
        said = ""
        while self._windows < self._first:
            reason = f"the training waits for {self.reason(n_windows=self._first)}"
            if reason != said:
                say(reason)
                said = reason
            if stop.wait(POLL_SECONDS):
                raise Stopped
            self.look()

    def begin(self, step: int) -> None:
        """Need the windows of batches from number `step` on. Raises InputError if some of them are recycled."""
        unused = self._schedule.unused(step)
        self._follower = replace(self._follower, unused=unused)
        self._write()
        recycled = open_store(self.store.path).recycled_windows
        if recycled > unused:
            raise InputError(
                f"--store {self.store.path}: the training rows of its first {recycled} windows were removed after a "
                f"training had used them, and this one, at step {step}, needs those from window {unused + 1} on; "
                "harvest again without --keep, or start all trainings before the harvest has to remove rows"
            )

    def give_up(self, step: int) -> None:
        """Give up the windows that no batch from number `step` on reads; the newest checkpoint is of this step."""
        self._give_up(self._schedule.unused(step))

    def finish(self) -> None:
        """Give up all windows, because the training has ended."""
        self._give_up(self.store.layout.n_windows)

    def checkpoint_is_due(self, step: int, *, waiting: bool) -> bool:
        """Return whether the harvest waits for windows that a checkpoint after `step` steps gives up.

        waiting: the training waits for rows, so it gives up what it can, even if the harvest asks for more.
        """
        too_soon = not waiting and time.monotonic() - self._asked < POLL_SECONDS
        if self.store.complete or not isinstance(self.store.path, Path) or too_soon:
            return False
        self._asked = time.monotonic()
        unused = self._schedule.unused(step)
        if unused <= self._follower.unused:
            return False
        requested = requested_windows(self.store.path)
        return requested > self._follower.unused and (waiting or unused >= requested)

    def lacks(self, n_batches: int) -> bool:
        """Return whether rows of the first `n_batches` batches do not exist yet."""
        if self.available < n_batches + SOON:
            self.look()
        return self.available < min(n_batches, self._schedule.n_batches)

    def reason(self, *, n_windows: int) -> str:
        """Return what the training waits for if it needs the first `n_windows` windows."""
        what = f"window {self._windows + 1} of {self.store.layout.n_windows} (it needs {n_windows})"
        ended = f"; no harvest fills {self.store.path}: continue it with its command"
        return what if self.harvest_runs() else what + ended

    def harvest_runs(self) -> bool:
        """Return whether the store's harvest runs, as far as its lock says."""
        return not isinstance(self.store.path, Path) or is_held(worker_lock(self.store.path, 0))

    def needed(self, n_batches: int) -> int:
        """Return how many of the first windows the first `n_batches` batches need."""
        return self._schedule.needed(min(n_batches, self._schedule.n_batches))

    def _give_up(self, n_windows: int) -> None:
        if n_windows > self._follower.unused:
            self._follower = replace(self._follower, unused=n_windows)
            self._write()

    def _write(self) -> None:
        if isinstance(self.store.path, Path) and not self.store.complete:
            self._follower.write(self.store.path)


def leading_windows(store: Store) -> int:
    """Return how many windows, from the first on without a gap, are committed."""
    committed = store.commit.committed_windows
    return next(window for window in range(store.layout.n_windows + 1) if window not in committed)
