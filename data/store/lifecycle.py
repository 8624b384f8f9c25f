"""A store's life: created whole but empty, filled window by window, finished.

    begin    what a killed creation or removal left is cleared
    create   metadata, tokens and documents appear at once
    fill     windows, each by one worker (staging.py)
    finish   the commit table and the statistics are rewritten as one chunk each, so that opening is one read,
             and the group is marked complete

Not here: the language model, tokenising (the package harvest).
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.errors import InputError, StoreError
from data.store.arrays import ArraySpec
from data.store.chunks import ArrayFile, chunk_bytes, growing_array, write_chunk, write_json
from data.store.commit_table import CommitTable
from data.store.create_arrays import check_with_zarr, write_skeleton
from data.store.group_metadata import Checksums, Root, read_root
from data.store.reader import open_store
from data.store.schema import COMMIT, DOCUMENT, TOKENS, Schema
from data.system.location import Location, exists, is_local, publish_folder, remove, write_file

MARK = "unfinished"  # in an object store: the first file that is put, and the last that is removed

Contexts = Iterable[tuple[NDArray[np.int32], NDArray[np.int32]]]


def staging_path(store: Location) -> Path:
    """Where a store's unfinished parts lie: beside it, on the same file system.

    For one in an object store, in the local folder `data`, under its name and a hash of its address.
    """
    if isinstance(store, Path):
        return store.with_name(store.name + ".partial")
    digest = hashlib.sha256(str(store).encode()).hexdigest()[:8]
    return Path("data") / f"{store.stem}-{digest}{store.suffix}.partial"


def is_remains(store: Location) -> bool:
    """Whether there is what a killed `create` or `remove_store` left in an object store; a disk has only whole stores.

    A store that has lost its zarr.json is none: it may be put back.
    """
    return not is_local(store) and exists(store / MARK) and not exists(store / "zarr.json")


def remove_store(store: Location) -> None:
    """Delete a store: on a disk it first loses its name; else its metadata first, so that no half of it looks whole."""
    if isinstance(store, Path):
        if store.exists():
            aside = staging_path(store) / "removed"
            aside.parent.mkdir(parents=True, exist_ok=True)
            remove(aside)
            store.rename(aside)
            remove(aside)
        return
    if exists(store):
        write_file(store / MARK, b"")
        remove(store / "zarr.json")
        for name in sorted((child.name for child in store.iterdir()), key=lambda name: name == MARK):
            remove(store / name)
        remove(store)


def begin(store: Location) -> None:
    """Clear the remains of an earlier store and, in an object store, put the first file: before hours of work.

    Raises InputError where nothing can be put there.
    """
    if is_remains(store):
        remove_store(store)
    if not is_local(store):
        try:
            write_file(store / MARK, b"")
        except Exception as error:  # drivers have families of their own
            raise InputError(f"{store} cannot be written ({error}); check the bucket and the credentials") from error


def create(
    store: Location,
    schema: Schema,
    contexts: Callable[[], Contexts],
    provenance: Callable[[], dict[str, Any]],
    channel_scales: dict[str, NDArray[np.float32]],
) -> None:
    """Make the store appear, with its tokens and without any row.

    `contexts()` yields (tokens, document) pairs, int32 [k, context_size] each, of all contexts in reading order;
    `provenance()` is called after that. `channel_scales` has a float32 [d] per hook if the type has scales per channel.
    """
    aside = staging_path(store) / "store"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    checksums: Checksums = {name: [] for name in schema.initial_arrays}

    def put(name: str, values: NDArray[Any]) -> None:
        spec = schema.arrays[name]
        chunk = np.full(spec.chunk_shape, spec.fill, dtype=spec.dtype)
        chunk[: len(values)] = values
        data, checksum = chunk_bytes(chunk)
        path = aside / name / spec.chunk_key(len(checksums[name]))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        checksums[name].append(checksum)

    count = 0
    for tokens, document in _regroup(contexts(), schema.arrays[TOKENS].chunk_rows):
        put(TOKENS, tokens)
        put(DOCUMENT, document)
        count += len(tokens)
    if count != schema.layout.n_contexts:
        raise AssertionError(f"{count} contexts were packed where {schema.layout.n_contexts} were announced")
    for hook, scale in channel_scales.items():
        for name in schema.channel_arrays(hook):
            put(name, scale)
    write_skeleton(aside, Root(schema, provenance(), checksums))
    check_with_zarr(aside, schema)
    publish_folder(aside, store, last="zarr.json")
    if not is_local(store):
        remove(store / MARK)


def committed_windows(store: Location, schema: Schema) -> set[int]:
    """The windows whose shards exist."""
    commit = CommitTable(schema, growing_array(store, schema.arrays[COMMIT]).read_present())
    return {shard // schema.layout.shards_per_window for shard in commit.committed}


def finish(store: Location) -> str:
    """Compact and complete a store whose windows are all committed; returns its fingerprint.

    Raises StoreError where windows are missing. May be called again after a kill.
    """
    root = read_root(store)
    schema, scratch = root.schema, staging_path(store)
    missing = set(range(schema.layout.n_windows)) - committed_windows(store, schema)
    if missing:
        raise StoreError(f"{store} lacks {len(missing)} of its {schema.layout.n_windows} windows; continue the harvest")
    unfinished = open_store(store)
    for hook in schema.hooks:
        unfinished.statistics(hook)  # raises where they are damaged
    for name in schema.per_window_arrays:
        compact(store, schema.arrays[name], scratch)
    commit = ArrayFile(store / COMMIT, schema.arrays[COMMIT].in_one_chunk()).chunk(0)
    done = root.finished(commit)
    write_json(store / "zarr.json", done.to_json(), scratch=scratch)
    if not is_local(store):
        remove(store / MARK)  # which a kill in `create` may have left
    shutil.rmtree(scratch)
    return str(done.fingerprint)


def compact(store: Location, spec: ArraySpec, scratch: Path) -> None:
    """Rewrite an array as one chunk, readable at every moment.

    The single chunk is written under a name that only the new metadata gives it, so replacing zarr.json switches from
    the old chunks to the new one at once.
    """
    old, whole = growing_array(store, spec), spec.in_one_chunk()
    if old.spec != whole:
        new = ArrayFile(store / spec.name, whole)
        write_chunk(new.chunk_path(0), old.read(), scratch=scratch)
        write_json(new.path / "zarr.json", whole.metadata(), scratch=scratch)
    remove(old.path / "c")


def _regroup(contexts: Contexts, n: int) -> Contexts:
    """The same contexts in parts of exactly `n`, but for the last: chunks are then written whole and once."""
    held: list[tuple[NDArray[np.int32], NDArray[np.int32]]] = []
    count = 0
    for part in contexts:
        held.append(part)
        count += len(part[0])
        while count >= n:
            tokens, document = (np.concatenate([p[i] for p in held]) for i in (0, 1))
            yield tokens[:n], document[:n]
            held, count = [(tokens[n:], document[n:])], count - n
    if count:
        tokens, document = (np.concatenate([p[i] for p in held]) for i in (0, 1))
        yield tokens, document
