"""A folder of copies of files in object stores, bounded in size; the least recently used copies are removed first.

Processes of one machine may share it. A copy has its final name only when it is whole, and its time of change is that
of its last use. A process that is killed leaves at most a partial copy, which counts and is removed like any other.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import InputError
from data.system.location import Location, file_bytes
from data.system.lock import lock_path, turn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT_BYTES = 100 * 10**9
OURS = re.compile(r"[0-9a-f]{16}-.+\.(copy|partial)")  # other files in the folder are never removed
LONGEST_NAME = 150  # characters of a file's own path in the name of its copy


@dataclass(frozen=True)
class FileCache:
    """A cache of object stores' files in a local folder, whose copies have at most `most_bytes` in all.

    store = open_store("s3://bucket/gpt2.zarr", cache=FileCache(Path("/scratch/cache"), 200 * 10**9))
    """

    folder: Path
    most_bytes: int = DEFAULT_BYTES

    def path(self, store: Location, name: str, checksum: int) -> Path:
        """Return where the copy of the file `name` of a store lies, or would lie."""
        owner = hashlib.sha256(str(store).encode()).hexdigest()[:16]
        return self.folder / f"{owner}-{name.replace('/', '-')[-LONGEST_NAME:]}-{checksum:08x}.copy"

    def touch(self, path: Path) -> bool:
        """Record that a copy is used now; return whether it exists."""
        try:
            os.utime(path)
        except FileNotFoundError:
            return False
        except PermissionError:  # another user's, which can be read all the same
            return path.exists()
        return True

    @contextmanager
    def filling(self, path: Path) -> Iterator[None]:
        """Let one thread of one process at a time make a copy; the others wait, and then look for it again."""
        self._make_folder()
        with turn(lock_path(path)):
            yield

    def put(self, path: Path, content: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Write a copy of whole content, uint8 [bytes], and return a private memory map of it.

        The map stays valid if the copy is removed. If another process removes the copy while it is written, because it
        needs the room, the content itself is returned. Raises InputError if the content is larger than the cache, or
        cannot be written.
        """
        if content.nbytes > self.most_bytes:
            raise InputError(
                f"--cache-size {self.most_bytes:,}: is less than a file of the store, which has {content.nbytes:,} "
                "bytes; give several times that"
            )
        self._make_folder()
        try:
            partial = self._reserve(path, content.nbytes)
            try:
                with open(partial, "r+b") as file:
                    file.write(content.data)
                mapped = file_bytes(partial)
                os.replace(partial, path)
            except OSError:
                if partial.exists():
                    raise
                return content
        except OSError as error:
            raise InputError(
                f"--cache {self.folder}: a file cannot be stored there ({error.strerror or error}); give a "
                "smaller --cache-size, or another folder"
            ) from error
        return mapped

    def _reserve(self, path: Path, size: int) -> Path:
        """Make room for a copy and create its file with its full size, so that all copies together keep the limit."""
        with turn(self.folder / "room.lock"):
            self._remove_until(self.most_bytes - size)
            partial = self.folder / f"{path.stem}-{secrets.token_hex(4)}.partial"
            fd = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            try:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(fd, 0, size)  # a full disk is noticed here
                else:
                    os.truncate(fd, size)
            except OSError:
                os.unlink(partial)
                raise
            finally:
                os.close(fd)
        return partial

    def _remove_until(self, limit: int) -> None:
        """Remove the copies that were used least recently, until the rest has at most `limit` bytes."""
        copies = sorted(self._copies())
        total = sum(size for _, size, _ in copies)
        for _, size, path in copies:
            if total <= limit:
                return
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            total -= size

    def _copies(self) -> Iterator[tuple[int, int, str]]:
        """Yield the time of the last use, the bytes and the path of each copy."""
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if OURS.fullmatch(entry.name):
                    with contextlib.suppress(FileNotFoundError):
                        about = entry.stat(follow_symlinks=False)
                        yield about.st_mtime_ns, about.st_size, entry.path

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--cache {self.folder}: {error.strerror}; give another folder") from error
