"""Check every byte of a store against its recorded checksums.

Each chunk file ends with its CRC-32C. The commit table repeats the checksums of the shards, and the group's attributes
those of the other chunks, so a file that was replaced by another valid one is noticed too. The fingerprint covers the
commit table and the attributes, and every zarr.json follows from the schema in the attributes.
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
from data.store.recycled import GROUP, recycled_windows
from data.store.schema import COMMIT, CONTEXT, POSITION, STATS_FIELDS, stats_name
from data.store.sealed import read_json
from data.system.location import Location, exists, locate, transfers


@dataclass(frozen=True)
class Problem:
    """A damaged or missing file, named relative to the store, and a sentence about it."""

    file: str
    what: str


Check = tuple[str, Callable[[], object]]  # the file, and a function that raises StoreError if it is damaged


def damaged_shards(store: Store, hooks: Sequence[str], splits: Sequence[Split] = SPLITS) -> dict[int, str]:
    """Return the shards in which the rows of a hook or their origin are damaged: shard → message.

    Raises DamagedError if the metadata of an array are damaged, which concerns all shards.
    """

    def problem(shard: int) -> str | None:
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
        checked = zip(shards, pool.map(problem, shards), strict=True)
        bar = Bar(checked, total=len(shards), desc="checking", unit="shard")
        return {shard: message for shard, message in bar if message is not None}


def verify(path: str | Location) -> Iterator[Problem | None]:
    """Check each file of a store in turn; yield None for an intact one, and a Problem for any other.

    If the group's attributes or the commit table cannot be read, the other files cannot be checked and it stops there.
    Raises StoreError if there is no store.
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
        yield from pool.map(_run, _checks(store))


def _run(check: Check) -> Problem | None:
    file, function = check
    try:
        function()
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
    try:
        recycled, is_recycled = store.recycled, exists(store.path / GROUP / "zarr.json")
    except DamagedError:
        recycled, is_recycled = range(0), True
    if is_recycled:
        yield f"{GROUP}/zarr.json", partial(recycled_windows, store.path, schema)
    present = [shard for shard in shards if shard not in recycled]
    for name in schema.per_shard_arrays:
        for shard in present:
            yield _chunk(ArrayFile(store.path / name, schema.arrays[name]), shard, store.commit.checksum(name, shard))
    for name in schema.initial_arrays:
        for chunk, checksum in enumerate(store.metadata.checksums[name]):
            yield _chunk(ArrayFile(store.path / name, schema.arrays[name]), chunk, checksum)
    for hook in schema.hooks:
        yield from _statistics(store, hook, shards)


def _chunk(array: ArrayFile, index: int, checksum: int | None = None) -> Check:
    return f"{array.spec.name}/{array.spec.chunk_key(index)}", partial(array.chunk, index, checksum=checksum)


def _statistics(store: Store, hook: str, shards: list[int]) -> Iterator[Check]:
    """Yield checks of the chunks of a hook's statistics and, if all are intact, one of the shards' checksums."""
    arrays = []
    for field in STATS_FIELDS:
        try:
            arrays.append(store.array(stats_name(hook, field)))
        except DamagedError:  # the check of its zarr.json reports it
            spec = store.schema.arrays[stats_name(hook, field)]
            arrays.append(ArrayFile(store.path / spec.name, spec.in_one_chunk() if store.complete else spec))
    chunks = [
        _chunk(array, number) for array in arrays for number in sorted({n // array.spec.chunk_rows for n in shards})
    ]
    yield from chunks
    if not any(_run(chunk) for chunk in chunks):
        yield stats_name(hook), lambda: store.check_statistics(hook, shards)


def _check_group(file: Location) -> None:
    try:
        content = read_json(file)
    except FileNotFoundError as error:
        raise DamagedError(f"{file} is missing") from error
    if content != group_json({}):
        raise DamagedError(f"{file} is damaged: it is not that of a group without attributes")
