"""Check every byte of a store against what was recorded of it.

Each chunk file carries a CRC-32C trailer; the commit table repeats those of the shards, and the group's attributes
those of the other chunks, so a file that was replaced by another valid one is told. The fingerprint covers the commit
table and the attributes, and every zarr.json follows from the schema among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from data.command.progress import Bar
from data.errors import DamagedError, StoreError
from data.store.arrays import group_json
from data.store.chunks import ArrayFile
from data.store.group_metadata import read_group_metadata
from data.store.layout import SPLITS, Split
from data.store.reader import Store
from data.store.schema import COMMIT, CONTEXT, POSITION, STATS_FIELDS, stats_name
from data.store.sealed import read_json
from data.system.location import Location, locate, transfers


@dataclass(frozen=True)
class Problem:
    """One damaged or missing file, named relative to the store."""

    file: str
    what: str


Check = tuple[str, Callable[[], object]]  # the file, and what raises StoreError where it is damaged


def damaged_shards(store: Store, hooks: Sequence[str], splits: Sequence[Split] = SPLITS) -> dict[int, str]:
    """The shards of which some hook's rows, or their origin, are not what was written: shard → what is wrong.

    Raises DamagedError where the metadata of an array are damaged, and so all shards.
    """

    def look(shard: int) -> str | None:
        try:
            for hook in hooks:
                store.encoded(hook, shard)
            store.origin(shard)
        except DamagedError as error:
            return str(error)
        return None

    for name in [*(name for hook in hooks for name in store.schema.row_arrays(hook)), CONTEXT, POSITION]:
        store.array(name)
    shards = [shard for split in splits for shard in store.shards(split)]
    with ThreadPoolExecutor(transfers(store.path)) as pool:
        looked = Bar(zip(shards, pool.map(look, shards), strict=True), total=len(shards), desc="checking", unit="shard")
        return {shard: why for shard, why in looked if why is not None}


def verify(path: str | Location) -> Iterator[Problem | None]:
    """Check each file of a store in turn: yields None where it is whole, a Problem where it is not.

    Without the group's attributes and the commit table, which say what must be there, the rest cannot be checked.
    Raises StoreError where there is no store.
    """
    path = locate(path)
    is_whole = True
    try:
        metadata = read_group_metadata(path)
    except DamagedError as error:
        is_whole = False
        yield Problem("zarr.json", str(error))
        try:
            metadata = read_group_metadata(path, check=False)
        except DamagedError:
            return
    else:
        yield None
    store = Store(path, metadata)
    try:
        commit = store.commit
    except StoreError as error:
        yield Problem(COMMIT, str(error))
        return
    fits = not (store.complete and is_whole) or store.fingerprint == metadata.fingerprint_of(commit.values)
    yield None if fits else Problem(COMMIT, "the commit table does not fit the fingerprint in zarr.json")
    with ThreadPoolExecutor(transfers(path)) as pool:
        yield from pool.map(_checked, _checks(store))


def _checked(check: Check) -> Problem | None:
    file, work = check
    try:
        work()
    except StoreError as error:
        return Problem(file, str(error))
    return None


def _checks(store: Store) -> Iterator[Check]:
    schema = store.schema
    for name in schema.groups:
        yield f"{name}/zarr.json", partial(_check_group, store.path / name / "zarr.json")
    for name in schema.arrays:
        yield f"{name}/zarr.json", partial(store.array, name)
    shards = store.commit.committed
    for name in schema.per_shard_arrays:
        for shard in shards:
            yield _chunk(ArrayFile(store.path / name, schema.arrays[name]), shard, store.commit.checksum(name, shard))
    for name in schema.initial_arrays:
        for chunk, checksum in enumerate(store.metadata.checksums[name]):
            yield _chunk(ArrayFile(store.path / name, schema.arrays[name]), chunk, checksum)
    for hook in schema.hooks:
        yield from _statistics(store, hook, shards)


def _chunk(array: ArrayFile, index: int, checksum: int | None = None) -> Check:
    return f"{array.spec.name}/{array.spec.chunk_key(index)}", partial(array.chunk, index, checksum=checksum)


def _statistics(store: Store, hook: str, shards: list[int]) -> Iterator[Check]:
    """The chunks of a hook's statistics; and each shard's part, where the chunks are whole."""
    arrays = []
    for field in STATS_FIELDS:
        try:
            arrays.append(store.array(stats_name(hook, field)))
        except DamagedError:  # told of its zarr.json
            spec = store.schema.arrays[stats_name(hook, field)]
            arrays.append(ArrayFile(store.path / spec.name, spec.in_one_chunk() if store.complete else spec))
    chunks = [
        _chunk(array, number) for array in arrays for number in sorted({n // array.spec.chunk_rows for n in shards})
    ]
    yield from chunks
    if not any(_checked(chunk) for chunk in chunks):
        yield stats_name(hook), lambda: store.check_statistics(hook, shards)


def _check_group(file: Location) -> None:
    try:
        found = read_json(file)
    except FileNotFoundError as error:
        raise DamagedError(f"{file} is missing") from error
    if found != group_json({}):
        raise DamagedError(f"{file} is damaged: it is not that of a group without attributes")
