"""Recycled windows: their training rows are gone, and everything else says so and stays."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from data import open_store
from data.errors import DamagedError, RecycledError
from data.store.recycled import recycle, recycled_windows, remove_recycled
from data.store.verify import verify
from data.store.writing.followers import Follower, followers, request, requested_windows
from data.store.writing.lifecycle import staging_path
from data.summary import summarize
from data.summary_text import summary_text
from tests.helpers.fixture_types import Command, LocalStore, MakeStore


@pytest.fixture
def store(make_store: MakeStore, tmp_path: Path) -> LocalStore:
    """Return a store with 3 held-out and 12 training shards in 4 windows, of which 2 are recycled."""
    made = make_store(fresh=True)[0]
    recycle(made.path, made.schema, 2, scratch=tmp_path)
    return open_store(made.path)  # type: ignore[return-value]


def test_training_rows_of_recycled_windows_are_removed_and_all_else_stays(store: LocalStore) -> None:
    hook = store.hooks[0]
    assert (store.recycled_windows, list(store.recycled)) == (2, [3, 4, 5, 6, 7])
    assert not store.has_rows([7, 8])
    assert store.has_rows([0, 8])
    assert not (store.path / hook / "c.3.0").exists()
    assert not (store.path / "context" / "c.3").exists()
    assert len(store.rows(hook, 2)) == store.shard_rows(2)  # held out, in window 0
    assert store.n_rows("train") == store.layout.split_rows("train") == store.statistics(hook).count()
    with pytest.raises(RecycledError, match="removed the training rows of its first 2 windows"):
        store.rows(hook, 3)


def test_verify_finds_no_damage_but_a_missing_file_of_another_window(store: LocalStore) -> None:
    assert [problem for problem in verify(store.path) if problem] == []
    (store.path / store.hooks[0] / "c.8.0").unlink()
    assert [problem.file for problem in verify(store.path) if problem] == [f"{store.hooks[0]}/c.8.0"]


def test_damaged_or_lost_record_of_recycled_windows_is_reported(store: LocalStore, tmp_path: Path) -> None:
    file = store.path / "recycled" / "zarr.json"
    file.write_text(file.read_text().replace('"windows": 2', '"windows": 3'))
    with pytest.raises(DamagedError, match="is not the digest of the others"):
        recycled_windows(store.path, store.schema)
    assert "recycled/zarr.json" in [problem.file for problem in verify(store.path) if problem]
    file.unlink()
    assert f"{store.hooks[0]}/c.3.0" in [problem.file for problem in verify(store.path) if problem]


def test_number_of_recycled_windows_never_falls_and_rows_left_by_a_kill_are_removed(
    store: LocalStore, tmp_path: Path
) -> None:
    left = store.path / store.hooks[0] / "c.3.0"
    left.write_bytes(b"x")
    recycle(store.path, store.schema, 1, scratch=tmp_path)
    assert recycled_windows(store.path, store.schema) == 2
    remove_recycled(store.path, store.schema)
    assert not left.exists()


def test_summary_counts_all_rows_and_names_the_recycled_windows(store: LocalStore) -> None:
    summary = summarize(store)
    assert (summary.recycled_windows, summary.windows, summary.stream.mixing) == (2, 4, None)
    assert asdict(summary)["rows"]["train"] == store.layout.split_rows("train")
    assert "the training rows of the first 2 of 4 windows were removed" in summary_text(summary)


def test_second_training_is_refused(store: LocalStore, command: Command, tmp_path: Path) -> None:
    base = ["train", "--store", store.path, "--layers", "0", "--out", tmp_path / "run", "--variant", "baseline"]
    refused = command(*base, "--activations", "1k", "--batch-size", "64", "--device", "cpu")
    assert refused.returncode == 2
    assert "only trainings that followed it can continue; harvest again without --keep" in refused.stderr


def test_followers_of_another_store_do_not_count_and_the_largest_request_does(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    Follower("/runs/a", "this", 3, 2).write(path)  # no harvest is under way
    assert followers(path, "this") == []
    staging_path(path).mkdir()
    Follower("/runs/a", "this", 3, 2).write(path)
    Follower("/runs/b", "another", 0, 2).write(path)
    assert followers(path, "this") == [Follower("/runs/a", "this", 3, 2)]
    assert requested_windows(path) == 0
    request(path, 0, 4)
    request(path, 1, 2)
    assert requested_windows(path) == 4
    Follower("/runs/a", "this", 3, 2).path(path).write_text("{}")
    with pytest.raises(DamagedError, match="is damaged"):
        followers(path, "this")
