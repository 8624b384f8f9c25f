"""What a second reader of a store does, in a process of its own that does not import the S3 server."""

from __future__ import annotations

from pathlib import Path

from data import open_store
from data.system.file_cache import FileCache


def print_sum(address: str, cache: str) -> None:
    """Print the sum of a store's training rows, read through a cache."""
    store = open_store(address, cache=FileCache(Path(cache), 10**6))
    rows = (store.rows(store.hooks[0], shard) for shard in store.shards("train"))
    print(sum(float(x.sum(dtype="float64")) for x in rows))
