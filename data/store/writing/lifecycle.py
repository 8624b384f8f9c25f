"""Remove and finish stores, and name the place of their unfinished parts.

create   metadata, tokens and documents appear at once (create.py)
fill     each window is written by one worker (window_writer.py)
finish   the commit table and the statistics are rewritten as one chunk each, so that opening reads one file, and
         the group is marked complete
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from data.errors import StoreError
from data.store.arrays import ArraySpec
from data.store.chunks import ArrayFile, array_in_either_form, write_chunk, write_json
from data.store.commit_table import CommitTable
from data.store.group_metadata import read_group_metadata
from data.store.reader import open_store
from data.store.schema import COMMIT, Schema
from data.system.location import Location, children, exists, is_local, remove, write_file

MARK = "unfinished"  # in an object store: the first file to be put, and the last to be removed


def staging_path(store: Location) -> Path:
    """Return the folder of a store's unfinished parts: next to the store, on the same file system.

    For a store in an object store, it lies in the local folder `data`, named after the store and a hash of its address.
    """
    if isinstance(store, Path):
        return store.with_name(store.name + ".partial")
    digest = hashlib.sha256(str(store).encode()).hexdigest()[:8]
    return Path("data") / f"{store.stem}-{digest}{store.suffix}.partial"


def worker_lock(store: Location, rank: int) -> Path:
    """Return the path of the lock of a harvest's worker, beside the store's unfinished parts."""
    first = staging_path(store).with_suffix(".lock")
    return first.with_name(f"{first.name}-{rank}") if rank else first


def is_remains(store: Location) -> bool:
    """Return whether an object store has the remains of a killed `create` or `remove_store`; a disk never has.

    A complete store that has lost its zarr.json does not count as remains, because the file may be put back.
    """
    return not is_local(store) and exists(store / MARK) and not exists(store / "zarr.json")


def remove_store(store: Location) -> None:
    """Delete a store so that a kill never leaves a part that looks complete.

    On a disk it is renamed first; in an object store its metadata is deleted first.
    """
    if isinstance(store, Path):
        if store.exists():
            removed = staging_path(store) / "removed"
            removed.parent.mkdir(parents=True, exist_ok=True)
            remove(removed)
            store.rename(removed)
            remove(removed)
        return
    if exists(store):
        write_file(store / MARK, b"")
        remove(store / "zarr.json")
        for name in sorted(children(store), key=lambda name: name == MARK):
            remove(store / name)
        remove(store)


def committed_windows(store: Location, schema: Schema) -> set[int]:
    """Return the windows whose shards are committed."""
    return CommitTable(schema, array_in_either_form(store, schema.arrays[COMMIT]).read_present()).committed_windows


def finish(store: Location) -> str:
    """Complete a store whose windows are all committed, and return its fingerprint. May be called again after a kill.

    Raises StoreError if windows are missing, DamagedError if statistics are damaged.
    """
    metadata = read_group_metadata(store)
    schema, scratch = metadata.schema, staging_path(store)
    missing = set(range(schema.layout.n_windows)) - committed_windows(store, schema)
    if missing:
        raise StoreError(f"{store} lacks {len(missing)} of its {schema.layout.n_windows} windows; continue the harvest")
    unfinished = open_store(store)
    for hook in schema.hooks:
        unfinished.statistics(hook)  # raises if they are damaged
    for name in schema.per_window_arrays:
        compact(store, schema.arrays[name], scratch)
    commit = ArrayFile(store / COMMIT, schema.arrays[COMMIT].in_one_chunk()).chunk(0)
    done = metadata.finished(commit)
    write_json(store / "zarr.json", done.to_json(), scratch=scratch)
    if not is_local(store):
        remove(store / MARK)  # a kill in `create` may have left it
    shutil.rmtree(scratch, ignore_errors=True)  # a training that follows the store may write to it
    return str(done.fingerprint)


def compact(store: Location, spec: ArraySpec, scratch: Path) -> None:
    """Rewrite an array as one chunk. It stays readable at every moment.

    The old form has no file of the single chunk's name, so replacing zarr.json switches from the old chunks to the new
    one atomically.
    """
    old, whole = array_in_either_form(store, spec), spec.in_one_chunk()
    if old.spec != whole:
        values = old.read()
        if array_in_either_form(store, spec).spec == whole:
            return  # another worker has rewritten it, and may have removed chunks that were read
        new = ArrayFile(store / spec.name, whole)
        write_chunk(new.chunk_path(0), values, scratch=scratch)
        write_json(new.path / "zarr.json", whole.metadata(), scratch=scratch)
    remove(old.path / "c")
