"""Write files of JSON objects, one per line, and read the undamaged part of a run's metrics.jsonl."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from data.store.chunks import crc32c
from train.measures import TRAINING
from train.output.files.checked import MOST_JSON, DamagedRunError, Extent, check_extent, extent, parse_json
from train.output.run_folder import RunFolder, read_info

Record = dict[str, Any]

# The entries of a record that are not measures: their type, and the values they may have, if these are few.
ABOUT: dict[str, tuple[type, tuple[str, ...] | None]] = {
    "step": (int, None), "rows": (int, None), "split": (str, ("train", "heldout")), "hook": (str, None),
    "noise": (bool, None),
}  # fmt: skip


class JsonLines:
    """A file of JSON objects, one per line, that can be truncated to its length at a checkpoint."""

    def __init__(self, path: Path, *, size: int | None = None) -> None:
        """Open for appending, truncated to `size` bytes if given, else to whole lines."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "ab")  # noqa: SIM115
        if size is None:
            size = path.read_bytes().rfind(b"\n") + 1
        self._file.truncate(size)
        self._size, self._checksum = size, int(extent(path, size).crc32c, 16)

    def write(self, records: Iterable[Record]) -> None:
        """Append records, not synced to the disk yet."""
        lines = "".join(json.dumps(record) + "\n" for record in records).encode()
        self._file.write(lines)
        self._file.flush()
        self._size, self._checksum = self._size + len(lines), crc32c(lines, self._checksum)

    def sync(self) -> Extent:
        """Make the file durable; return its length and checksum."""
        os.fsync(self._file.fileno())
        return Extent(self._size, f"{self._checksum:08x}")

    def close(self) -> None:
        self._file.close()


def read_records(folder: RunFolder) -> Iterator[Record]:
    """Yield the records of a run's metrics.jsonl; none if there is no such file yet.

    The part that the newest checkpoint, or the final weights, recorded is compared with its checksum. Later lines of a
    run that is still training have no checksum yet and are read too. Raises DamagedRunError.
    """
    newest, end = folder.newest(), math.inf
    if newest is not None and (recorded := read_info(newest).metrics) is not None:
        check_extent(folder.metrics, recorded, whole=False)
        end = recorded.bytes if newest == folder.final else math.inf
    if not folder.metrics.is_file():
        return
    with open(folder.metrics, "rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MOST_JSON), b""), start=1):
            if not line.endswith(b"\n") or file.tell() > end:  # a kill may leave the last line half-written
                return
            yield _record(line, f"{folder.metrics}, line {number},")


def _record(line: bytes, where: str) -> Record:
    record = parse_json(dict[str, Any], line, where)
    missing = [name for name in (*ABOUT, *TRAINING) if name not in record]
    if missing:
        raise DamagedRunError(f"{where} is damaged: it lacks {missing[0]}")
    wrong = next((name for name, value in record.items() if not _fits(name, value)), None)
    if wrong is not None:
        raise DamagedRunError(f"{where} is damaged: {wrong} cannot be {str(record[wrong])[:80]!r}")
    return record


def _fits(name: str, value: Any) -> bool:
    if name in ABOUT:
        kind, allowed = ABOUT[name]
        if type(value) is not kind:
            return False
        return value in allowed if allowed is not None else not isinstance(value, int) or 0 <= value < 2**63
    return value is None or (isinstance(value, (int, float)) and abs(value) <= sys.float_info.max)
