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

from data.chunks import ArrayFile, write_chunk, write_json
from data.errors import InputError, StoreError
from data.location import Location, exists, is_local, publish_folder, remove
from data.schema import (
    COMMIT,
    Schema,
    channel_scale_name,
    fingerprint,
    finish_attributes,
    group,
    stats_arrays,
)
from data.skeleton import create_skeleton, create_token_arrays

MARK = "stats/zarr.json"  # the first file that is put, and the last that is removed

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
    """Whether there is what a killed `create` or `remove_store` left: no store, and nothing of anybody else's."""
    return exists(store / MARK) and not exists(store / "zarr.json")


def remove_store(store: Location) -> None:
    """Delete a store. Its metadata goes first, so that no half of it looks whole; last, what tells remains from it."""
    remove(store / "zarr.json")
    if exists(store):
        for name in sorted((child.name for child in store.iterdir()), key=lambda name: name == "stats"):
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
            write_json(store / MARK, group({}))
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
    `provenance()` is called after that. `channel_scales` has a float32 [d] for each hook where the type is int8.
    """
    aside = staging_path(store) / "store"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    tokens, document = create_token_arrays(aside, schema.layout.n_contexts, schema.context_size)
    begin, n_chunk = 0, tokens.chunks[0]
    for token_part, document_part in _regroup(contexts(), n_chunk):
        tokens[begin : begin + len(token_part)] = token_part
        document[begin : begin + len(token_part)] = document_part
        begin += len(token_part)
    if begin != schema.layout.n_contexts:
        raise AssertionError(f"{begin} contexts were packed where {schema.layout.n_contexts} were announced")
    create_skeleton(aside, schema, provenance())
    for hook, scale in channel_scales.items():
        write_chunk(ArrayFile(aside / channel_scale_name(hook)).chunk_path(0), scale.astype("<f4"))
    publish_folder(aside, store, last="zarr.json")


def committed_windows(store: Location, schema: Schema) -> set[int]:
    """The windows whose shards exist."""
    commit = ArrayFile(store / COMMIT).read()
    per_window = schema.layout.shards_per_window
    return {int(shard) // per_window for shard in np.flatnonzero(commit[:, 0])}


def finish(store: Location, schema: Schema, provenance: dict[str, Any]) -> str:
    """Compact and complete a store whose windows are all committed; returns its fingerprint.

    Raises StoreError where windows are missing. May be called again after a kill.
    """
    missing = set(range(schema.layout.n_windows)) - committed_windows(store, schema)
    if missing:
        raise StoreError(f"{store} lacks {len(missing)} of its {schema.layout.n_windows} windows; continue the harvest")
    for name in [*(name for name, *_ in stats_arrays(schema)), COMMIT]:
        compact(store / name, staging_path(store))
    identity = fingerprint(ArrayFile(store / COMMIT).read(), provenance)
    write_json(store / "zarr.json", finish_attributes(schema, provenance, identity), scratch=staging_path(store))
    shutil.rmtree(staging_path(store))
    return identity


def compact(array: Location, scratch: Path) -> None:
    """Rewrite an array as one chunk, readable at every moment.

    The single chunk is written under a name that only the new metadata gives it (separator "." in place of "/"), so
    replacing zarr.json switches from the old chunks to the new one at once.
    """
    old = ArrayFile(array)
    encoding = old.metadata["chunk_key_encoding"]
    if encoding["configuration"]["separator"] == "/":
        metadata = {
            **old.metadata,
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(old.shape)}},
        }
        name = ".".join(["c", *["0"] * len(old.shape)])
        write_chunk(array / name, old.read(), scratch=scratch)
        write_json(array / "zarr.json", metadata, scratch=scratch)
    remove(array / "c")


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
