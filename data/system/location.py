"""Files on a disk or in an object store, written so that a file under its final name is always complete.

On a disk a file is written under another name, synced, and renamed. An object store receives it by one atomic put. In
both cases a file with its final name is complete, even after a kill or a power cut.

Addresses are those of fsspec, such as s3://bucket/gpt2.zarr. s3, gs and az are read and written by obstore
(remote/object_store.py), the others by fsspec's drivers, which may not be atomic.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fsspec.registry import known_implementations
from upath import UPath

from data.errors import InputError, StoreError
from data.system.limits import disk_threads
from data.system.remote.redact import has_credentials, redacted
from data.system.remote.retry import PATIENCE, retried

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

Location = Path | UPath  # a UPath is not a Path

OBSTORE = ("s3", "gs", "az")  # the protocols of data/system/remote/object_store.py
TRANSFERS = 8  # concurrent ones with an object store; each mostly waits for the network
FIRST_PATIENCE = 60.0  # seconds; an address that was never reached may be mistyped


def locate(address: str | Location) -> Location:
    """Return the location of a local path or of an object store's address.

    Raises InputError if the address needs a package that is not installed, holds credentials, or cannot be reached.
    """
    if not isinstance(address, str):
        return address
    protocol, separator, path = address.partition("://")
    if not separator:
        return _local(address)
    if not path.strip("/"):
        raise InputError(f"{address} names no bucket or folder; write an address such as s3://bucket/gpt2.zarr")
    if protocol in ("file", "local"):
        return _local(path)
    if has_credentials(address):
        raise InputError(
            f"{redacted(address)} holds credentials, which records would repeat; give them to the driver by its "
            "environment variables or files"
        )
    try:
        location = UPath(address.rstrip("/"))
        exists(location, patience=FIRST_PATIENCE)
    except InputError:
        raise
    except ImportError as error:
        package = known_implementations[protocol]["class"].partition(".")[0]
        package = "'nsae-pipeline[object-store]'" if protocol in OBSTORE else package
        remedy = f"{error}" if package == "fsspec" else f"pip install {package}"
        raise InputError(f"{address}: the driver for {protocol}:// is not installed ({remedy})") from error
    except Exception as error:  # each fsspec driver has its own exceptions
        raise InputError(
            f"{address} cannot be reached ({redacted(str(error))}); check the address and the credentials"
        ) from None
    return location


def _local(path: str) -> Path:
    if not (location := named(path)).name:
        raise InputError(f"{path} cannot be a store; name a folder in it")
    return location


def named(path: str) -> Path:
    """Return the path in a form that ends in a name, so that names beside it can be made (the root folder has none)."""
    return Path(os.path.abspath(path)) if Path(path).name in ("", "..") else Path(path)


def is_local(location: Location) -> bool:
    """Return whether a location is on a local disk rather than in an object store."""
    return isinstance(location, Path)


def request(location: UPath, operation: Callable[[Any], T], *, patience: float = PATIENCE, many: bool = False) -> T:
    """Return the result of an operation of an address's driver; repeat it after transient faults.

    The driver's listing cache is emptied first, because others may write there. Raises as `retried`.
    """
    driver = _driver(location)  # made in this thread: fsspec makes one, with its own connections, for each thread

    def attempt() -> T:
        driver.invalidate_cache()
        return operation(driver)

    return retried(attempt, str(location), patience=patience, many=many)


def _driver(location: UPath) -> Any:
    if location.protocol not in OBSTORE:
        return location.fs
    from data.system.remote.object_store import object_store  # imports what needs not be installed

    return object_store(location.protocol, location.path.partition("/")[0])


def transfers(location: Location) -> int:
    """Return how many files to read or write at once."""
    return disk_threads() if is_local(location) else TRANSFERS


def exists(location: Location, *, patience: float = PATIENCE) -> bool:
    """Return whether a file or folder exists. Any other failure is raised, so that it does not look like absence."""
    if isinstance(location, Path):
        return location.exists()
    path = location.path
    try:
        request(location, lambda driver: driver.info(path), patience=patience)
    except FileNotFoundError:
        return False
    return True


def is_occupied(location: Location) -> bool:
    """Return whether there is a file, or a folder that is not empty."""
    return exists(location) and not (is_local(location) and location.is_dir() and not any(location.iterdir()))


def file_bytes(location: Location) -> NDArray[np.uint8]:
    """Return a file's bytes, uint8: a private memory map of a local file, or a copy in memory.

    Writing to the map changes no file, and the map holds no file descriptor. Raises FileNotFoundError, or another
    OSError if it is not an ordinary file.
    """
    import numpy as np  # imported late, as torch is: commands that read nothing start faster

    if not isinstance(location, Path):
        path = location.path
        return np.frombuffer(bytearray(request(location, lambda driver: driver.cat_file(path))), dtype=np.uint8)
    size = file_size(location)
    if not size:
        return np.empty(0, dtype=np.uint8)
    import torch

    try:
        return torch.from_file(str(location), shared=False, size=size, dtype=torch.uint8).numpy()
    except RuntimeError as error:
        raise OSError(str(error).splitlines()[0]) from error


def file_size(location: Path) -> int:
    """Return an ordinary file's size in bytes. Raises FileNotFoundError, or another OSError if it is not one."""
    about = location.stat()
    if not stat.S_ISREG(about.st_mode):
        raise OSError("it is not an ordinary file")
    return about.st_size


def read_bytes(location: Location, *, at_most: int) -> bytes:
    """Return a small file's bytes. Raises FileNotFoundError; StoreError if it is not a file or too large."""
    try:
        if not isinstance(location, Path):
            path = location.path
            return bytes(request(location, lambda driver: driver.cat_file(path)))
        if file_size(location) > at_most:
            raise StoreError(f"{location} is damaged: it has more than {at_most} bytes")
        with open(location, "rb") as file:
            return file.read(at_most)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(str(location)) from error
    except OSError as error:
        raise StoreError(f"{location} cannot be read ({error.strerror or error})") from error


def children(location: UPath) -> list[str]:
    """Return the names of the files and folders in a folder of an object store."""
    entries = request(location, lambda driver: driver.ls(location.path, detail=False))
    return [entry.rstrip("/").rpartition("/")[2] for entry in entries]


def total_bytes(location: Location) -> int:
    """Return the number of bytes of all files in a folder."""
    if isinstance(location, Path):
        return sum(
            os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(location) for name in names
        )
    files = request(location, lambda driver: driver.find(location.path, detail=True), many=True)
    return sum(file["size"] for file in files.values())


def write_file(location: Location, *parts: bytes | memoryview, scratch: Path | None = None) -> None:
    """Write a file atomically: it is either as before or complete, and durable on return.

    `scratch`: folder on the same file system for the file under construction; by default the file's own.
    """
    if not isinstance(location, Path):
        path, content = location.path, b"".join(parts)
        request(location, lambda driver: driver.pipe_file(path, content))
        return
    temporary = (scratch or location.parent) / (location.name + ".partial")
    location.parent.mkdir(parents=True, exist_ok=True)
    temporary.parent.mkdir(parents=True, exist_ok=True)
    with open(temporary, "wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, location)
    sync_directory(location.parent)


def publish_file(file_path: Path, location: Location) -> None:
    """Move a local file to its final name; on a disk that is durable once the directory is synced.

    For an object store the file is put, and the local file stays.
    """
    if not isinstance(location, Path):
        write_file(location, file_path.read_bytes())
        return
    with open(file_path, "rb+") as file:
        sync_data(file.fileno())
    os.replace(file_path, location)


def publish_folder(local_folder: Path, location: Location, *, last: str) -> None:
    """Move a local folder to its final name atomically: by a rename, or on an object store by putting `last` last."""
    if isinstance(location, Path):
        for folder, _, names in os.walk(local_folder):
            for name in names:
                with open(Path(folder) / name, "rb") as file:
                    os.fsync(file.fileno())
            sync_directory(Path(folder))
        os.rename(local_folder, location)
        sync_directory(location.parent)
        return
    files = [path for path in local_folder.rglob("*") if path.is_file() and path != local_folder / last]
    with ThreadPoolExecutor(TRANSFERS) as pool:
        list(pool.map(lambda path: publish_file(path, location / path.relative_to(local_folder).as_posix()), files))
    publish_file(local_folder / last, location / last)
    shutil.rmtree(local_folder)


def remove(location: Location) -> None:
    """Delete a file or a folder with its content, if it exists."""
    if not isinstance(location, Path):
        path = location.path
        with contextlib.suppress(FileNotFoundError):
            request(location, lambda driver: driver.rm(path, recursive=True), many=True)
    elif location.is_dir():
        shutil.rmtree(location)
    else:
        location.unlink(missing_ok=True)


def sync_data(fd: int) -> None:
    """Make a file's bytes and size durable. macOS has no fdatasync."""
    getattr(os, "fdatasync", os.fsync)(fd)


def sync_directory(location: Location) -> None:
    """Make the names in a directory durable; those in an object store already are."""
    if isinstance(location, Path):
        fd = os.open(location, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
