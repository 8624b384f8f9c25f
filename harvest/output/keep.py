"""Keep a store within a size on the disk (--keep): wait until trainings have used its oldest windows, and recycle them.

The limit is turned into a number of windows, so that it holds at every moment: before window w is begun, the windows
up to w − n are recycled, where n is the number that the disk may hold.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from data.command.sizes import human_bytes
from data.errors import InputError, Stopped
from data.store.reader import Store
from data.store.recycled import recycle, recycled_windows, remove_recycled
from data.store.schema import Schema
from data.store.writing.followers import Follower, followers, request
from data.store.writing.lifecycle import staging_path, worker_lock
from data.system.location import Location
from data.system.lock import LockHeldError, is_held, lock_path, locked
from harvest.output.worker import Worker
from harvest.progress import FillProgress

WAIT_SECONDS = 1.0
FEWEST_WINDOWS = 2  # one that fills, and one that is read
RESERVE = 1.01  # for zarr.json files and the like


def fixed_bytes(schema: Schema) -> int:
    """Return the bytes that stay on the disk: tokens, documents, held-out rows, statistics and the commit table.

    The harvest's token stream counts too, and the largest array of statistics twice, as it is while it is rewritten.
    """
    layout = schema.layout
    n_tokens = layout.n_contexts * schema.context_size
    small = [schema.arrays[name].in_one_chunk().chunk_bytes for name in schema.per_window_arrays]
    return int(RESERVE * (3 * 4 * n_tokens + layout.n_heldout_shards * schema.shard_bytes() + sum(small) + max(small)))


def window_bytes(schema: Schema) -> int:
    """Return the bytes of a whole window."""
    return schema.layout.shards_per_window * schema.shard_bytes()


def windows_kept(keep: int, schema: Schema) -> int:
    """Return how many windows fit into `keep` bytes, those that are being written included.

    While a window is compressed, it lies on the disk twice. Raises InputError if too few fit.
    """
    fixed, window = fixed_bytes(schema), window_bytes(schema)
    twice = int(schema.compression != "none")
    count = (keep - fixed) // window - twice
    if count < min(FEWEST_WINDOWS, schema.layout.n_windows):
        need = fixed + (FEWEST_WINDOWS + twice) * window
        raise InputError(
            f"--keep {human_bytes(keep)}: tokens, held-out rows and statistics take {human_bytes(fixed)} and each "
            f"window {human_bytes(window)}; give at least {human_bytes(1.005 * need)}, for {FEWEST_WINDOWS} windows"
        )
    return count


def check_keep(out: Location, keep: int, schema: Schema) -> None:
    """Raise InputError if the store is not on a disk, or `keep` is too small for it."""
    if not isinstance(out, Path):
        raise InputError(f"--keep: applies to a store on a disk only, and --out is {out}; leave --keep out")
    windows_kept(keep, schema)


class KeptWindows:
    """The windows of a store that the disk may hold at once."""

    def __init__(self, store: Store, keep: int, worker: Worker, stop: threading.Event) -> None:
        assert isinstance(store.path, Path)
        self._path, self._schema, self._identity = store.path, store.schema, store.identity
        self._keep, self._worker, self._stop = keep, worker, stop
        self.count = windows_kept(keep, store.schema)
        remove_recycled(self._path, self._schema)

    def make_room(self, window: int, progress: FillProgress, interrupted: Callable[[], bool]) -> bool:
        """Wait until there is room for a window, and recycle as many windows as that takes.

        interrupted: whether to stop waiting; the result is then False.

        Raises Stopped once `stop` is set, and InputError if a training needs more windows at once than there is room
        for.
        """
        needed, waited = window + 1 - self.count, False
        while recycled_windows(self._path, self._schema) < needed:
            known = followers(self._path, self._identity)
            for follower in known:
                self._check(follower)
            if known and min(follower.unused for follower in known) >= needed:
                self._recycle(needed)
                continue
            spare = self.count - max((follower.needs for follower in known), default=self.count)
            request(self._path, self._worker.rank, min(needed + spare // 2, self._schema.layout.n_windows))
            progress.wait_for(f"trainings to use window {needed}", self._reason(known))
            waited = True
            if self._stop.wait(WAIT_SECONDS):
                raise Stopped
            if interrupted():
                return False
        if waited:
            progress.end_waiting()
        return True

    def _recycle(self, n_windows: int) -> None:
        lock = worker_lock(self._path, 0).with_suffix(".recycling")
        try:
            with locked(lock, f"--out {self._path}"):
                recycle(self._path, self._schema, n_windows, scratch=staging_path(self._path))
        except LockHeldError:
            pass  # another worker recycles

    def _check(self, follower: Follower) -> None:
        if follower.needs > self.count and follower.unused < self._schema.layout.n_windows:
            size = human_bytes(1.005 * (self._keep + (follower.needs - self.count) * window_bytes(self._schema)))
            raise InputError(
                f"--keep {human_bytes(self._keep)}: holds {self.count} windows, and the training {follower.out} needs "
                f"{follower.needs} at once; give --keep {size}, or begin that training again with a smaller "
                "--mix-windows"
            )

    def _reason(self, known: list[Follower]) -> str:
        full = f"{self._path} is as large as --keep allows"
        if not known:
            return f"{full}, and no training follows it yet; start `train --store {self._path} --follow …`"
        slowest = min(known, key=lambda follower: follower.unused)
        if is_held(lock_path(Path(slowest.out))):
            return f"{full}, so the harvest waits whenever {slowest.out} has not used the oldest windows"
        return (
            f"{full}, and the training {slowest.out} has ended before it used the oldest windows; continue it with "
            f"`train --resume {slowest.out}`, or remove {slowest.path(self._path)} to go on without it"
        )
