"""Files of JSON objects, one a line: writing them, and reading a run's metrics.jsonl as far as it is whole."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from data.chunks import crc32c
from train.checked import MOST_JSON, DamagedRunError, Extent, check_extent, extent, parse_json
from train.checkpoint import RunFolder, read_facts
from train.typed import typed

Record = dict[str, Any]

ABOUT = ("step", "rows", "split", "hook", "noise")
MEASURED = (
    "loss", "l0", "l1", "l2", "explained_variance", "suppression", "suppression_mean", "gamma", "silent", "dead",
)  # fmt: skip


@dataclass(frozen=True)
class _About:
    step: int
    rows: int
    split: Literal["train", "heldout"]
    hook: str
    noise: bool


class JsonLines:
    """A file of JSON objects, one a line, that can be cut back to what it was at a checkpoint."""

    def __init__(self, path: Path, *, size: int | None = None) -> None:
        """Open for appending, after cutting to `size` bytes if given, else to whole lines."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "ab")  # noqa: SIM115
        if size is None:
            size = path.read_bytes().rfind(b"\n") + 1
        self._file.truncate(size)
        self._size, self._checksum = size, int(extent(path, size).crc32c, 16)

    def write(self, records: Iterable[Record]) -> None:
        lines = "".join(json.dumps(record) + "\n" for record in records).encode()
        self._file.write(lines)
        self._file.flush()
        self._size, self._checksum = self._size + len(lines), crc32c(lines, self._checksum)

    def sync(self) -> Extent:
        """Make durable what was written."""
        os.fsync(self._file.fileno())
        return Extent(self._size, f"{self._checksum:08x}")

    def close(self) -> None:
        self._file.close()


def read_records(folder: RunFolder) -> Iterator[Record]:
    """The lines of a run's metrics.jsonl; none where it has none yet.

    Compares the file with its checksum, as far as the newest checkpoint or the end of training recorded it. Of a run
    that goes on, later lines are read too; they have no checksum yet. Raises DamagedRunError.
    """
    newest, end = folder.newest(), math.inf
    if newest is not None and (recorded := read_facts(newest).metrics) is not None:
        check_extent(folder.metrics, recorded, whole=False)
        end = recorded.bytes if newest == folder.final else math.inf
    if not folder.metrics.is_file():
        return
    with open(folder.metrics, "rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MOST_JSON), b""), start=1):
            if not line.endswith(b"\n") or file.tell() > end:  # a kill may leave the last one half-written
                return
            yield _record(line, f"{folder.metrics}, line {number},")


def _record(line: bytes, where: str) -> Record:
    record = parse_json(dict[str, Any], line, where)
    lacking = [name for name in (*ABOUT, *MEASURED) if name not in record]
    if lacking:
        raise DamagedRunError(f"{where} is damaged: it lacks {lacking[0]}")
    try:
        typed(_About, {name: record[name] for name in ABOUT})
        for name in record.keys() - set(ABOUT):
            typed(float | None, record[name], name)  # type: ignore[arg-type]
    except ValueError as error:
        raise DamagedRunError(f"{where} is damaged: {error}") from error
    return record
