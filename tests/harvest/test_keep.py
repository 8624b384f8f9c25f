"""`harvest --keep`: how many windows fit, and when the harvest waits for trainings or removes what they have used."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from data.errors import InputError, Stopped
from data.store.recycled import recycled_windows
from data.store.writing.followers import Follower, requested_windows
from data.store.writing.lifecycle import staging_path
from data.system.location import locate
from data.system.lock import lock_path, locked
from harvest.output.keep import KeptWindows, check_keep, fixed_bytes, window_bytes, windows_kept
from harvest.output.worker import Worker
from harvest.progress import FillProgress
from tests.helpers.fixture_types import Command, LocalStore, MakeStore


@pytest.fixture
def store(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    """Return a store of 13 windows, of which the first 6 are filled. A harvest looks often for its followers."""
    monkeypatch.setattr("harvest.output.keep.WAIT_SECONDS", 0.01)
    store = make_store(n_contexts=200, windows=6, fresh=True)[0]
    staging_path(store.path).mkdir(exist_ok=True)
    return store


def size_of(store: LocalStore, n_windows: int) -> int:
    return fixed_bytes(store.schema) + n_windows * window_bytes(store.schema)


def kept(store: LocalStore, n_windows: int, stop: threading.Event | None = None) -> KeptWindows:
    return KeptWindows(store, size_of(store, n_windows), Worker(), stop or threading.Event())


def progress(store: LocalStore) -> FillProgress:
    return FillProgress(store.schema, [], [], disable=False)


def never() -> bool:
    return False


def test_windows_that_fit_leave_room_for_all_that_stays(make_store: MakeStore) -> None:
    store = make_store(n_contexts=200)[0]
    schema = store.schema
    assert windows_kept(size_of(store, 5), schema) == 5
    assert windows_kept(size_of(store, 6) - 1, schema) == 5
    shards = len(store.shards("train"))
    files = sum(path.stat().st_size for path in store.path.rglob("*") if path.is_file())
    assert files <= fixed_bytes(schema) + shards * schema.shard_bytes() + 40_000  # zarr.json files
    with pytest.raises(InputError, match=r"give at least .*, for 2 windows"):
        windows_kept(size_of(store, 1), schema)


def test_compressed_window_takes_room_twice_while_it_is_compressed(make_store: MakeStore) -> None:
    store = make_store(n_contexts=200, compression="zstd")[0]
    assert windows_kept(size_of(store, 5), store.schema) == 4


def test_store_on_no_disk_is_refused(store: LocalStore) -> None:
    with pytest.raises(InputError, match="--keep: applies to a store on a disk only"):
        check_keep(locate("memory://bucket/x.zarr"), size_of(store, 5), store.schema)


def test_oldest_windows_are_removed_once_all_followers_have_given_them_up(store: LocalStore) -> None:
    Follower("/runs/a", store.identity, 3, 2).write(store.path)
    Follower("/runs/b", store.identity, 2, 2).write(store.path)
    with progress(store) as bar:
        assert kept(store, 4).make_room(5, bar, never)
    assert recycled_windows(store.path, store.schema) == 2  # as many as are needed
    assert requested_windows(store.path) == 0


def test_harvest_waits_for_the_slowest_follower_and_asks_for_half_of_the_spare_windows(
    store: LocalStore, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    slow = Follower(str(tmp_path / "slow"), store.identity, 0, 2)
    slow.write(store.path)
    Follower("/runs/b", store.identity, 9, 2).write(store.path)
    stop = threading.Event()

    def give_up_later() -> bool:
        Follower(slow.out, slow.store, 2, slow.needs).write(store.path)
        return False

    with progress(store) as bar, locked(lock_path(tmp_path / "slow"), "--out slow"):
        assert kept(store, 6, stop).make_room(6, bar, give_up_later)
    assert requested_windows(store.path) == 1 + (6 - 2) // 2
    assert recycled_windows(store.path, store.schema) == 1
    assert f"so the harvest waits whenever {slow.out} has not used the oldest windows" in capsys.readouterr().err


def test_stop_and_damage_end_the_wait(store: LocalStore, capsys: pytest.CaptureFixture[str]) -> None:
    stop = threading.Event()
    with progress(store) as bar:
        assert not kept(store, 4, stop).make_room(5, bar, lambda: True)
        stop.set()
        with pytest.raises(Stopped):
            kept(store, 4, stop).make_room(5, bar, never)
    assert "no training follows it yet; start `train --store" in capsys.readouterr().err


def test_follower_that_needs_more_windows_than_fit_is_refused_with_the_size_that_it_needs(store: LocalStore) -> None:
    Follower("/runs/a", store.identity, 0, 7).write(store.path)
    with progress(store) as bar, pytest.raises(InputError, match="holds 4 windows, and the training /runs/a needs 7"):
        kept(store, 4).make_room(5, bar, never)


def test_size_that_is_too_small_is_refused_before_anything_is_written(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "demo.zarr"
    done = command("harvest", "--model", "demo", "--tokens", "20k", "--out", out, "--keep", "1MB", "--device", "cpu")
    assert done.returncode == 2
    assert "--keep 1.0 MB: tokens, held-out rows and statistics take " in done.stderr
    assert list(tmp_path.iterdir()) == []
