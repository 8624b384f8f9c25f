"""Files of a run that are checked as they are read: JSON that ends with its own checksum, and files that it lists.

    {
      "step": 120,
      "crc32c": "0f3a9c1e"
    }

The checksum is the CRC-32C of all bytes before it, without the comma that leads to it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from data.errors import InputError
from data.store.chunks import crc32c
from data.system.location import write_file
from train.output.files.typed import typed

T = TypeVar("T")

ENDING = re.compile(rb',\n  "crc32c": "([0-9a-f]{8})"\n}\n\Z')
MOST_JSON = 16 << 20  # bytes; more cannot be one of these files, and would need far more memory once it is parsed
PIECE = 4 << 20  # bytes of a file in memory at once


class DamagedRunError(InputError):
    """A file of a run is missing, or not as it was written; the message names it."""

    remedy = "put it back from a copy, or train again, with --overwrite"


@dataclass(frozen=True)
class Extent:
    """The first `bytes` of a file, and their CRC-32C."""

    bytes: int
    crc32c: str

    def __post_init__(self) -> None:
        if self.bytes < 0:
            raise ValueError(f"{self.bytes} is not a file size")


def write_checked(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object and its checksum, durably, in place of the file that there may be."""
    write_file(path, checked_content(value))


def checked_content(value: Mapping[str, Any]) -> bytes:
    """Return a JSON object with its checksum at the end, as `write_checked` writes it."""
    body = json.dumps(value, indent=2, sort_keys=True).encode().removesuffix(b"\n}")
    return body + b',\n  "crc32c": "%08x"\n}\n' % crc32c(body)


def checked_body(content: bytes) -> bytes:
    """The JSON text that `write_checked` wrote, without its checksum. Raises ValueError where it is damaged."""
    ending = ENDING.search(content[-64:])
    body = content[: -len(ending[0])] if ending else b""
    if ending is None or b"%08x" % crc32c(body) != ending[1]:
        raise ValueError("its bytes do not fit the checksum at its end")
    return body + b"\n}"


def read_checked(kind: type[T], path: Path) -> T:
    """Read what `write_checked` wrote, as a value of a type (typed.py). Raises DamagedRunError."""
    try:
        with open(path, "rb") as file:
            content = file.read(MOST_JSON + 1)
        if len(content) > MOST_JSON:
            raise ValueError(f"it has more than {MOST_JSON:,} bytes")
        body = checked_body(content)
    except OSError as error:
        raise DamagedRunError(f"{path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DamagedRunError(f"{path} is damaged: {error}") from error
    return parse_json(kind, body, path)


def parse_json(kind: type[T], content: bytes, where: str | Path) -> T:
    """JSON as a value of a type (typed.py). Raises DamagedRunError, which names `where`."""
    try:
        return typed(kind, json.loads(content, parse_constant=_refuse))
    except (ValueError, RecursionError) as error:
        raise DamagedRunError(f"{where} is damaged: {error}") from error


def extent(path: Path, size: int | None = None) -> Extent:
    """The extent of a file, or of its first `size` bytes. Raises DamagedRunError where it is absent or shorter."""
    try:
        about = os.stat(path)
        if size is not None and about.st_size < size:
            raise DamagedRunError(f"{path} is damaged: it has {about.st_size} bytes where {size} were written")
        return _extent(path, about.st_size if size is None else size, about.st_ino, about.st_mtime_ns)
    except OSError as error:
        raise DamagedRunError(f"{path} cannot be read ({error.strerror})") from error


def check_extent(path: Path, expected: Extent, *, whole: bool) -> None:
    """Compare a file with what was written of it: all of it, or but its beginning. Raises DamagedRunError."""
    size = os.stat(path).st_size if whole and path.exists() else expected.bytes
    if size != expected.bytes:
        raise DamagedRunError(f"{path} is damaged: it has {size} bytes where {expected.bytes} were written")
    actual = extent(path, expected.bytes)
    if actual != expected:
        raise DamagedRunError(f"{path} is damaged: its checksum is {actual.crc32c} where {expected.crc32c} was written")


@lru_cache(maxsize=1024)
def _extent(path: Path, size: int, inode: int, changed: int) -> Extent:
    """Read a file once per process and state of it: an analysis loads the SAEs of one file layer by layer."""
    value, left = 0, size
    with open(path, "rb") as file:
        while left and (piece := file.read(min(left, PIECE))):
            value, left = crc32c(piece, value), left - len(piece)
    return Extent(size - left, f"{value:08x}")


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a number in JSON")
