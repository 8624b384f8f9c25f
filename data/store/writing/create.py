"""Create a store: its metadata, tokens and documents appear at once, and no rows yet.

The zarr.json files are written from the schema and not by zarr-python, because a reader compares them with the schema:
they must be the same with every version of the library. zarr-python only checks that it can read the result.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from data.errors import InputError, UnreachableError
from data.store.arrays import group_json
from data.store.chunks import chunk_bytes, json_bytes
from data.store.group_metadata import Checksums, GroupMetadata
from data.store.schema import DOCUMENT, TOKENS, Schema
from data.store.truth import Truth
from data.store.writing.lifecycle import MARK, is_remains, remove_store, staging_path
from data.system.location import Location, is_local, publish_folder, remove, write_file

Contexts = Iterable[tuple[NDArray[np.int32], NDArray[np.int32]]]


def begin(store: Location) -> None:
    """Remove the remains of an earlier store and, in an object store, put the first file, before hours of work.

    Raises InputError if the object store cannot be written.
    """
    if is_remains(store):
        remove_store(store)
    if not is_local(store):
        try:
            write_file(store / MARK, b"")
        except UnreachableError:
            raise
        except Exception as error:  # each fsspec driver has its own exceptions
            raise InputError(f"{store} cannot be written ({error}); check the bucket and the credentials") from error


def create(
    store: Location,
    schema: Schema,
    contexts: Contexts,
    provenance: dict[str, Any],
    channel_scales: dict[str, NDArray[np.float32]],
    truth: Truth | None = None,
) -> None:
    """Create a store with its tokens and without rows.

    contexts: yields (tokens, documents), int32 [k, context_size] each, of all contexts in reading order.
    provenance: JSON values.
    channel_scales: hook → float32 [d], if the stored type has scales per channel.
    truth: what the schema has the sizes of.
    """
    folder = staging_path(store) / "store"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    checksums: Checksums = {name: [] for name in schema.initial_arrays}

    def put(name: str, values: NDArray[Any]) -> None:
        spec = schema.arrays[name]
        chunk = np.full(spec.chunk_shape, spec.fill, dtype=spec.dtype)
        chunk[: len(values)] = values
        data, checksum = chunk_bytes(chunk)
        path = folder / name / spec.chunk_key(len(checksums[name]))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        checksums[name].append(checksum)

    count = 0
    for tokens, document in _regroup(contexts, schema.arrays[TOKENS].chunk_rows):
        put(TOKENS, tokens)
        put(DOCUMENT, document)
        count += len(tokens)
    if count != schema.layout.n_contexts:
        raise AssertionError(f"{count} contexts were packed where {schema.layout.n_contexts} were announced")
    for hook, scale in channel_scales.items():
        for name in schema.channel_arrays(hook):
            put(name, scale)
    for name, values in truth.arrays().items() if truth else ():
        by = schema.arrays[name].chunk_rows
        for begin in range(0, len(values), by):
            put(name, values[begin : begin + by])
    write_metadata(folder, GroupMetadata(schema, provenance, checksums))
    check_with_zarr(folder, schema)
    publish_folder(folder, store, last="zarr.json")
    if not is_local(store):
        remove(store / MARK)


def write_metadata(path: Path, metadata: GroupMetadata) -> None:
    """Write the zarr.json of every array and group to a folder. Publishing it syncs them."""
    files = {name: spec.metadata() for name, spec in metadata.schema.arrays.items()}
    files |= {name: group_json({}) for name in metadata.schema.groups}
    for name, content in {**files, ".": metadata.to_json()}.items():
        (path / name).mkdir(parents=True, exist_ok=True)
        (path / name / "zarr.json").write_bytes(json_bytes(content))


def check_with_zarr(path: Path, schema: Schema) -> None:
    """Raise AssertionError if zarr-python opens a new store's arrays as anything else than the schema says.

    Otherwise hours of harvesting could end in a store that other programs cannot read.
    """
    store = zarr.open_group(path, mode="r")
    for name, spec in schema.arrays.items():
        array = store[name]
        assert isinstance(array, zarr.Array), name
        opened = (array.shape, array.chunks, array.dtype)
        expected = (spec.shape, spec.chunk_shape, spec.dtype)
        assert opened == expected, f"zarr {zarr.__version__} opens {name} as {opened}, not {expected}"


def _regroup(contexts: Contexts, n: int) -> Contexts:
    """Regroup contexts into parts of exactly n, except the last, so that each chunk is written once."""
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
