"""Replace a store: write the new one beside the old, and move it into place once its first window is sealed.

Object stores cannot rename. There the old store is removed after the new text is tokenised and the model is loaded,
before the first window is computed.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data.errors import InputError
from data.store.reader import Store, open_store
from data.store.schema import Schema
from data.store.writing.lifecycle import is_remains, remove_store, staging_path, worker_lock
from data.system.location import Location, is_occupied, remove
from data.system.lock import locked
from data.system.replace import beside, check_replaceable, finish_replacing, take_place
from harvest.output.disk_space import check_space_beside
from harvest.output.resume import begun_settings, existing_settings
from harvest.output.worker import Worker, locked_as

MARK = "overwrites"  # file in a staging folder of a harvest begun with --overwrite, which the same command continues


@contextmanager
def claimed(
    out: Location, worker: Worker, settings: dict[str, Any], schema: Schema, *, overwrite: bool
) -> Iterator[Location]:
    """Hold a worker's lock of `out` inside the context, and yield where the first window is written.

    Raises InputError if the lock is held, or the disk cannot hold the new store's first window beside an old store.
    """
    with locked_as(out, worker):
        place = place_for(out, settings, overwrite=overwrite)
        if isinstance(out, Path) and place != out:
            check_space_beside(out, schema)
        yield place


def place_for(out: Location, settings: dict[str, Any], *, overwrite: bool) -> Location:
    """Return where a harvest writes its first window: beside `out` if it replaces a local store, else `out`.

    Removes the unfinished harvests of other settings there. The store at `out` stays.
    """
    if isinstance(out, Path):
        finish_replacing(out, *_parts(out))
    if not overwrite or ((staging_path(out) / MARK).exists() and _is_of(out, settings)):
        return out
    if isinstance(out, Path) and is_occupied(out) and not is_remains(out):
        check_replaceable(out)
        place: Location = beside(out)
        if not _is_of(place, settings):
            discard(place)
        _mark(place)
        return place
    if not is_occupied(out) or is_remains(out):
        discard(out)
        _mark(out)
    elif not _has_begun(out, settings):
        remove(staging_path(out))
    return out


def replaces_at_creation(out: Location, *, overwrite: bool) -> bool:
    """Return whether `out`, in an object store, holds an old store that is removed when the new one is created."""
    return overwrite and not (staging_path(out) / MARK).exists() and is_occupied(out)


def remove_old(out: Location) -> None:
    """Remove the old store from an object store; from now on the same command continues the new harvest."""
    _mark(out)
    remove_store(out)


def replace(place: Location, out: Location) -> None:
    """Move the store at `place` and its unfinished parts to `out`."""
    assert isinstance(out, Path)
    assert place == beside(out)
    take_place(out, *_parts(out))


def discard(place: Location) -> None:
    """Remove a store and its unfinished parts."""
    remove_store(place)
    remove(staging_path(place))


def tidy(store: Store) -> None:
    """Remove the unfinished parts that a killed harvest left beside a complete store, unless a process uses them."""
    staging = staging_path(store.path)
    if staging.exists():
        try:
            with locked(worker_lock(store.path, 0), "--out"):
                if open_store(store.path).complete:
                    shutil.rmtree(staging, ignore_errors=True)
        except (InputError, OSError):  # a finished store may be read-only
            return


def _parts(out: Path) -> list[tuple[Path, Path]]:
    return [(staging_path(beside(out)), staging_path(out))]


def _mark(place: Location) -> None:
    staging = staging_path(place)
    staging.mkdir(parents=True, exist_ok=True)
    (staging / MARK).touch()


def _has_begun(out: Location, settings: dict[str, Any]) -> bool:
    """Return whether a harvest of these settings was begun and has not created its store yet."""
    try:
        return begun_settings(out) == settings
    except InputError:
        return False


def _is_of(place: Location, settings: dict[str, Any]) -> bool:
    """Return whether `place` has an unfinished harvest of these settings."""
    try:
        if existing_settings(place) != settings:
            return False
        return not is_occupied(place) or not open_store(place).complete
    except InputError:
        return False
