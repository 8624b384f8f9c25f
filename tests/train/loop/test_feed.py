"""The feed of a store that is followed: what a training registers, gives up, and refuses."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from data import open_store
from data.errors import InputError, Stopped
from data.store.recycled import recycle
from data.store.writing.followers import Follower, followers, request
from data.store.writing.lifecycle import staging_path
from tests.helpers.fixture_types import LocalStore, MakeStore
from train.experiment import Experiment
from train.loop import feed as feed_module
from train.loop.feed import Feed
from train.output.settings import experiment_of, read_experiment

Open = Callable[[], Feed]


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "POLL_SECONDS", 0.0)


@pytest.fixture
def followed(make_store: MakeStore) -> LocalStore:
    """Return a store of 26 windows of 2 shards, of which the first 10 are filled."""
    store = make_store(n_contexts=200, shards_per_window=2, windows=10, fresh=True)[0]
    staging_path(store.path).mkdir(exist_ok=True)
    return store


@pytest.fixture
def experiment(trained: Path, followed: LocalStore) -> Experiment:
    record = read_experiment(trained)
    assert record is not None
    return replace(experiment_of(record.settings), store=followed.identity, mixed_windows=1, batch_size=32)


@pytest.fixture
def open_feed(followed: LocalStore, experiment: Experiment, tmp_path: Path) -> Open:
    return lambda: Feed(open_store(followed.path), experiment, tmp_path / "run")


def registered(followed: LocalStore) -> Follower:
    (follower,) = followers(followed.path, followed.identity)
    return follower


def silent(text: str) -> None:
    pass


def test_training_registers_at_its_start_and_needs_the_windows_of_its_checkpoint(
    followed: LocalStore, open_feed: Open, tmp_path: Path
) -> None:
    feed = open_feed()
    feed.start(threading.Event(), silent)
    assert (registered(followed).out, registered(followed).unused) == (str(tmp_path / "run"), 0)
    assert 0 < feed.available < followed.layout.split_rows("train") // 32
    assert not feed.lacks(feed.available)
    assert feed.lacks(feed.available + 1)
    assert feed.needed(feed.available) <= 10 < feed.needed(feed.available + 1)
    feed.give_up(feed.available)
    released = registered(followed).unused
    assert 0 < released < 10
    again = open_feed()
    again.start(threading.Event(), silent)
    assert registered(followed).unused == released  # until it is known which checkpoint it continues from
    again.begin(0)
    assert registered(followed).unused < released
    again.finish()
    assert registered(followed).unused == followed.layout.n_windows


def test_checkpoint_is_due_once_it_gives_up_what_the_harvest_asks_for(followed: LocalStore, open_feed: Open) -> None:
    feed = open_feed()
    feed.start(threading.Event(), silent)
    feed.begin(0)
    last = feed.available
    assert not feed.checkpoint_is_due(last, waiting=True)  # the harvest has room
    request(followed.path, 0, followed.layout.n_windows)
    assert feed.checkpoint_is_due(last, waiting=True)
    assert not feed.checkpoint_is_due(last, waiting=False)
    assert not feed.checkpoint_is_due(0, waiting=True)  # gives nothing up
    request(followed.path, 0, registered(followed).unused + 1)
    assert feed.checkpoint_is_due(last, waiting=False)
    feed.give_up(last)
    assert not feed.checkpoint_is_due(last, waiting=True)


def test_training_that_needs_recycled_rows_is_refused(followed: LocalStore, open_feed: Open, tmp_path: Path) -> None:
    recycle(followed.path, followed.schema, 5, scratch=tmp_path)
    feed = open_feed()
    feed.start(threading.Event(), silent)
    feed.begin(feed.available)
    with pytest.raises(
        InputError, match=r"its first 5 windows were removed .* at step 0, needs those from window 2 on"
    ):
        feed.begin(0)


def test_training_waits_for_the_first_windows_and_names_them(
    make_store: MakeStore, experiment: Experiment, tmp_path: Path
) -> None:
    empty = make_store(n_contexts=200, shards_per_window=2, windows=0, name="empty.zarr")[0]
    stop, said = threading.Event(), list[str]()

    def say(text: str) -> None:
        said.append(text)
        stop.set()

    with pytest.raises(Stopped):
        Feed(empty, experiment, tmp_path / "run").start(stop, say)
    assert len(said) == 1
    assert "the training waits for window 1 of 26 (it needs 2); no harvest fills " in said[0]
