"""Check every byte of a store against its checksums.

Each chunk file carries a CRC-32C trailer; the commit table repeats those of the shards, so a file that was replaced
by another valid one is found too. The fingerprint covers the commit table and the provenance.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from data.chunks import file_checksums
from data.errors import DamagedError, StoreError
from data.location import exists, transfers
from data.reader import Store
from data.schema import COMMIT, DOCUMENT, N_COMMIT_FACTS, TOKENS, channel_scale_name, fingerprint, stats_arrays


@dataclass(frozen=True)
class Problem:
    """One damaged or missing file, named relative to the store."""

    file: str
    what: str


def verify(store: Store) -> Iterator[Problem | None]:
    """Check each file in turn: yields None where it is whole, a Problem where it is not.

    Without the commit table, which says what must be there, nothing else can be checked.
    """
    try:
        store.commit  # noqa: B018
    except DamagedError as error:
        yield Problem(COMMIT, str(error))
        return
    with ThreadPoolExecutor(transfers(store.path)) as pool:
        yield from pool.map(lambda file: _check(store, *file), _files(store))
    if store.complete and store.fingerprint != fingerprint(store.commit, store.provenance):
        yield Problem("zarr.json", "the fingerprint does not fit the commit table and the provenance")


def _files(store: Store) -> Iterator[tuple[str, int, int | None]]:
    """The chunks that must be there: array, number, and the checksum that is committed for it, if any."""
    for shard, line in enumerate(store.commit):
        for column, name in enumerate(store.schema.checked):
            if line[0]:
                yield name, shard, int(line[N_COMMIT_FACTS + column])
    small = [TOKENS, DOCUMENT, COMMIT, *(name for name, *_ in stats_arrays(store.schema))]
    if store.dtype == "int8":
        small += [channel_scale_name(hook) for hook in store.hooks]
    for name in small:
        array = store.array(name)
        for chunk in range(array.n_chunks):
            if store.complete or name in (TOKENS, DOCUMENT) or exists(array.chunk_path(chunk)):
                yield name, chunk, None


def _check(store: Store, name: str, chunk: int, committed: int | None) -> Problem | None:
    array = store.array(name)
    file = f"{name}/{array.chunk_key(chunk)}"
    try:
        stored = array.stored_bytes(chunk)
        found, recorded = file_checksums(stored)
        array.decode(stored, chunk)
    except (OSError, ValueError, StoreError) as error:
        return Problem(file, str(error))
    if found != recorded:
        return Problem(file, f"its checksum is {found:08x}, its trailer says {recorded:08x}")
    if committed is not None and found != committed:
        return Problem(file, f"its checksum is {found:08x}, the commit table says {committed:08x}")
    return None
