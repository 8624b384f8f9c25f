"""Training in the order of the store's windows (--follow): each row once, so that no window is needed twice."""

from __future__ import annotations

import sys
import threading

from data.errors import InputError, Stopped
from data.shuffle.stream import DEFAULT_POOL, training_order
from data.shuffle.windows import WindowSchedule
from data.store.reader import Store
from data.store.writing.lifecycle import worker_lock
from data.system.location import Location, exists
from data.system.lock import is_held
from train.experiment import Experiment
from train.loop import calibrate

POLL_SECONDS = 1.0


def wait_for_store(store: Location, stop: threading.Event, *, quiet: bool) -> None:
    """Wait until the harvest has tokenised its text and created the store, unless no harvest runs.

    Raises Stopped once `stop` is set.
    """
    said = quiet
    while is_held(worker_lock(store, 0)) and not exists(store / "zarr.json"):
        if not said:
            print(f"the training waits for the harvest to tokenise its text and create {store}", file=sys.stderr)
            said = True
        if stop.wait(POLL_SECONDS):
            raise Stopped


def rows_of_statistics(store: Store, mixed_windows: int | None) -> Store:
    """Return the store with the training rows from which inputs are normalised: all, or those of the first windows.

    In the order of windows, the rows of later windows may not exist yet when training starts.
    """
    if mixed_windows is None:
        return store
    shards, _, windows = store.layout.training_shards()
    return store.without(shards[windows >= windows[0] + mixed_windows].tolist())


def windows_read(store: Store, experiment: Experiment, n_rows: int) -> int:
    """Return how many of the store's first windows the first `n_rows` rows of an experiment with --follow are in."""
    order, _ = training_order(
        store, pool=DEFAULT_POOL, seed=experiment.data_seed, mixed_windows=experiment.mixed_windows
    )
    return WindowSchedule(order, 1, store.layout.n_windows).needed(n_rows)


def batches_ahead(experiment: Experiment, n_steps: int | None = None) -> int:
    """Return how many batches are read beyond those trained on, to restart features or to set thresholds.

    n_steps: steps of the training, if they are not the experiment's.
    """
    restarts = experiment.resampling_batches if experiment.restarts else 0
    sets_thresholds = any(map(calibrate.sets_threshold, experiment.runs))
    return max(restarts, calibrate.threshold_batches(experiment, n_steps) if sets_thresholds else 0)


def check_single_pass(experiment: Experiment, n_rows: int) -> None:
    """Raise InputError if the training, with the batches that it reads ahead, takes more than `n_rows` rows."""
    size = experiment.batch_size
    n_batches = n_rows // size
    if experiment.n_steps + batches_ahead(experiment) > n_batches:
        most = n_batches - batches_ahead(experiment, -(-n_batches // 2))
        beyond = f", of which {(n_batches - most) * size:,} are read after the last step" if most < n_batches else ""
        raise InputError(
            f"--activations {experiment.schedule.total:,}: --follow reads each row once, and the store has {n_rows:,} "
            f"training rows{beyond}; give at most {max(most, 0) * size:,}"
        )
