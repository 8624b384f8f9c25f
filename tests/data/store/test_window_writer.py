"""A window between a kill and the next start: what changed on the disk meanwhile is not sealed as good."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from data import Store, open_store
from data.errors import WindowDamagedError
from data.store.layout import RowRange
from data.store.writing.appended_files import AppendedFiles, BufferedFiles, DirectFiles
from data.store.writing.lifecycle import committed_windows, staging_path
from data.store.writing.progress import WindowProgress
from data.store.writing.window_writer import WindowWriter
from tests.helpers.direct_writes import require_direct_writes
from tests.helpers.fixture_types import MakeStore

HOOK = "blocks.0.hook_mlp_out"


def filled(store: Store, window: int, *, synced: bool = True) -> WindowWriter:
    """A window with all its rows, each row's entries its number in the shard."""
    writer = WindowWriter(store.path, staging_path(store.path), store.schema, window)
    for assignment in store.layout.assignments(window):
        for shard, n_rows in enumerate(assignment.shard_rows().tolist(), start=assignment.first_shard):
            for begin in range(0, n_rows, 50):
                n = min(50, n_rows - begin)
                numbers = assignment.rows_of_rounds(begin, begin + n)[:, shard - assignment.first_shard]
                arrays = {
                    name: np.repeat(np.arange(begin, begin + n)[:, None], d, axis=1).astype(dtype)
                    for name, (dtype, d) in store.schema.activation_arrays.items()
                }
                writer.write([RowRange(shard, begin, n)], arrays)
                writer.add_statistics(numbers, [RowRange(shard, begin, n)], arrays)
    if synced:
        writer.sync(store.layout.window_contexts(window)[1])
    return writer


def write(writer: WindowWriter, store: Store, values: NDArray[np.float64], begin: int, end: int) -> None:
    """Write the rows of window 1's contexts [begin, end), whose entries are those of `values` [rows, d]."""
    per_context = store.layout.rows_per_context
    rows, ranges = store.layout.writing_order(1, begin * per_context, end * per_context)
    arrays = {name: values[rows, :d].astype(dtype) for name, (dtype, d) in store.schema.activation_arrays.items()}
    writer.write(ranges, arrays)
    writer.add_statistics(rows, ranges, arrays)


def again(store: Store, window: int, files: AppendedFiles | None = None) -> WindowWriter:
    return WindowWriter(store.path, staging_path(store.path), store.schema, window, files)


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_bit_flipped_before_a_resume_discards_the_window_and_names_the_file(
    make_store: MakeStore, dtype: str, compression: str
) -> None:
    store, _, _ = make_store(windows=0, dtype=dtype, compression=compression)
    for name in store.schema.activation_arrays:
        writer = filled(store, 1)
        flip(writer.folder / f"{name}.5", 41)
        with pytest.raises(WindowDamagedError, match=f"{name}.5 is damaged.*window 1 is harvested again"):
            again(store, 1).resume()
        assert committed_windows(store.path, store.schema) == set()
        assert again(store, 1).resume() == 0
    filled(store, 1).seal()
    assert open_store(store.path).shards("train") == [4, 5, 6, 7]


@pytest.mark.parametrize("change", ["truncated", "emptied", "deleted", "a folder", "a link"])
def test_short_or_missing_staging_file_discards_the_window_on_resume(
    make_store: MakeStore, tmp_path: Path, change: str
) -> None:
    store, _, _ = make_store(windows=0)
    path = filled(store, 1).folder / f"{HOOK}.5"
    kept = path.read_bytes()
    path.unlink()
    if change == "a folder":
        path.mkdir()
    elif change == "a link":
        (tmp_path / "elsewhere").write_bytes(kept)
        path.symlink_to(tmp_path / "elsewhere")
    elif change != "deleted":
        path.write_bytes(kept[: -10 if change == "truncated" else 0])
    with pytest.raises(WindowDamagedError, match=f"{HOOK}.5"):
        again(store, 1).resume()
    assert again(store, 1).resume() == 0


def test_changed_byte_of_the_recorded_progress_discards_the_window(make_store: MakeStore) -> None:
    store, _, _ = make_store(windows=0)
    size = len((filled(store, 1).folder / "progress.npz").read_bytes())
    for place in np.linspace(0, size - 1, 20).astype(int):
        writer = filled(store, 1)
        flip(writer.folder / "progress.npz", place)
        with pytest.raises(WindowDamagedError, match=r"progress\.npz"):
            again(store, 1).resume()


def test_rows_to_be_compressed_that_changed_discard_the_window(make_store: MakeStore) -> None:
    store, _, _ = make_store(windows=0, compression="zstd")
    writer = filled(store, 1)
    flip(writer.folder / f"{HOOK}.5", 41)
    with pytest.raises(WindowDamagedError, match=f"{HOOK}.5 is damaged.*window 1 is harvested again"):
        writer.seal()
    assert again(store, 1).resume() == 0


def test_rows_and_statistics_of_a_resumed_window_are_the_same_bit_for_bit(
    make_store: MakeStore, tmp_path: Path
) -> None:
    require_direct_writes(tmp_path)
    statistics, rows = [], []
    # contexts after which the writer is stopped, and how many more are written before those are recorded
    cases: tuple[tuple[tuple[int, ...], int, Callable[[], AppendedFiles]], ...] = (
        ((), 0, BufferedFiles),
        ((3, 11), 0, BufferedFiles),
        ((3, 11), 2, BufferedFiles),
        ((3, 11), 2, DirectFiles),
    )
    for number, (stops, more, files) in enumerate(cases):
        store, _, _ = make_store(root=tmp_path / str(number), windows=0)
        layout, per_context = store.layout, store.layout.rows_per_context
        first, last = layout.window_contexts(1)
        values = np.random.default_rng(0).normal(size=(last * per_context, 12))
        done = first
        for stop in (*(first + stop for stop in stops), last):
            writer = again(store, 1, files())
            assert writer.resume() in (0, done)
            write(writer, store, values, done, stop)
            record = writer.record(stop)
            if more and stop < last:
                write(writer, store, values, stop, stop + more)
            record()
            done = stop
        writer.seal()
        opened = open_store(store.path)
        statistics.append([*opened.shard_statistics(HOOK, opened.shards("train"))])
        rows.append([opened.rows(HOOK, shard) for shard in opened.shards("train")])
    assert all(
        np.array_equal(uninterrupted, resumed)
        for other in rows[1:]
        for uninterrupted, resumed in zip(rows[0], other, strict=True)
    )
    for uninterrupted, *others in zip(*statistics, strict=True):
        for field in ("moments", "norms", "histogram"):
            assert all(np.array_equal(getattr(uninterrupted, field), getattr(resumed, field)) for resumed in others)


def test_unrecorded_rows_are_written_again(make_store: MakeStore) -> None:
    store, _, _ = make_store(windows=0)
    for synced in (False, True):
        writer = filled(store, 1, synced=synced)
    progress = WindowProgress(store.schema, range(4, 8))
    progress.load(writer.folder / "progress.npz")
    assert progress.written.count[HOOK].tolist() == [128] * 4
    writer.seal()
    assert np.array_equal(open_store(store.path).rows(HOOK, 5)[:, 0], np.arange(128))


@pytest.mark.parametrize("moved", [1, 3, 8])
def test_sealing_continues_after_a_kill_between_file_moves(
    make_store: MakeStore, moved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _, _ = make_store(windows=0, dtype="int8")
    writer, replace, calls = filled(store, 1), os.replace, []

    def killed(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) > moved:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr("data.system.location.os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        writer.seal()
    monkeypatch.setattr("data.system.location.os.replace", replace)
    resumed = again(store, 1)
    assert resumed.resume() == store.layout.window_contexts(1)[1]
    resumed.seal()
    assert open_store(store.path).shards("train") == [4, 5, 6, 7]
