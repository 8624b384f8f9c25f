"""The options --cache and --cache-size of commands that read a store."""

from __future__ import annotations

from pathlib import Path

from data.command.writable import check_writable
from data.errors import InputError
from data.system.file_cache import DEFAULT_BYTES, FileCache
from data.system.location import Location, is_local

CACHE_HELP = {
    "--cache": "Folder for local copies of an object store's shards, so that each is fetched only once; processes may "
    "share it.",
    "--cache-size": "Maximum size of the copies in --cache, such as 200G; the least recently used are removed.  "
    "[default: 100G]",
}


def chosen_cache(store: Location, folder: Path | None, size: int | None) -> FileCache | None:
    """Return the cache that the values of --cache and --cache-size describe; None without --cache.

    Raises InputError if an option has no effect on the store, or nothing can be written to the folder.
    """
    if folder is None:
        if size is not None:
            raise InputError("--cache-size: has no effect without --cache; leave it out, or give a folder")
        return None
    if is_local(store):
        raise InputError(f"--cache: has no effect on {store}, which is on a disk; leave it out")
    check_writable(folder, "--cache", remedy="choose another folder")
    return FileCache(folder, size or DEFAULT_BYTES)
