"""Read data files row by row: JSON, JSON lines, parquet and text, plain or compressed."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from harvest.text.local_files import DataFile

Row = dict[str, Any]

READ_ERRORS = (OSError, EOFError, UnicodeDecodeError, zlib.error, lzma.LZMAError, pa.ArrowException)
BATCH_ROWS = 1024


class BadRow(Exception):
    """A row is malformed; the message continues a sentence that begins with "row 3"."""


def read_rows(file: DataFile, columns: tuple[str, Sequence[str]] | None, skip: int) -> Iterator[Row]:
    """Yield the rows of a file after the first `skip`; a text file is one row with the column `text`.

    `columns`: a column, and further ones that are read if the file has them. It limits what is read from parquet; None
    reads all. Raises BadRow for the row after the last one yielded, and one of READ_ERRORS if the file is damaged.
    """
    with _open(file) as opened:
        if file.format == "parquet":
            yield from _parquet_rows(opened, columns, skip)
        elif file.format == "json":
            by_line = ".jsonl" in map(str.lower, file.path.suffixes)
            yield from islice(_json_rows(opened, by_line=by_line), skip, None)
        else:
            yield from islice(_text_rows(opened), skip, None)


def _open(file: DataFile) -> BinaryIO:
    path, compression = file.path, file.path.suffix.lower()
    if compression == ".zst":  # Arrow detects truncated files
        stream = cast(BinaryIO, io.BufferedReader(pa.input_stream(str(path), compression="zstd"), 1 << 16))
    else:
        openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
        stream = openers.get(compression, open)(path, "rb")
    if file.format == "parquet" and compression != ".parquet":  # parquet needs a seekable file
        with stream:
            return io.BytesIO(stream.read())
    return stream


def _text_rows(opened: BinaryIO) -> Iterator[Row]:
    text = _decode(opened.read()).replace("\r\n", "\n").replace("\r", "\n")
    if text:
        yield {"text": text}


def _json_rows(opened: BinaryIO, *, by_line: bool) -> Iterator[Row]:
    """Yield objects, one per line or in one array; without `by_line` the file can be one object of several lines."""
    lines = (line for line in opened if line.strip(b" \t\r\n\xef\xbb\xbf"))
    first = next(lines, None)
    if first is None:
        return
    if _decode(first).lstrip().startswith("["):
        yield from map(_object, _parse(first + opened.read()))
        return
    try:
        row = _object(_parse(first))
    except BadRow:
        if by_line:
            raise
        row = _object(_parse(first + opened.read()))
    yield row
    for line in lines:
        yield _object(_parse(line))


def _parse(content: bytes) -> Any:
    try:
        return json.loads(_decode(content))
    except (ValueError, RecursionError) as error:
        raise BadRow(f"is not JSON ({str(error)[:100]})") from error


def _object(value: Any) -> Row:
    if not isinstance(value, dict):
        raise BadRow("is not a JSON object with named columns")
    return value


def _decode(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRow(f"is not UTF-8 (byte 0x{content[error.start]:02x} at {error.start}); convert the file") from error


def _parquet_rows(opened: BinaryIO, columns: tuple[str, Sequence[str]] | None, skip: int) -> Iterator[Row]:
    file = pq.ParquetFile(opened)
    names = None
    if columns is not None:
        column, beside = columns
        if column not in file.schema_arrow.names:
            raise BadRow(f"has no column {column}, unlike the rows before it")
        names = [column, *(name for name in beside if name in file.schema_arrow.names)]
    groups = range(file.num_row_groups)
    before = 0
    while groups and before + file.metadata.row_group(groups[0]).num_rows <= skip:
        before += file.metadata.row_group(groups[0]).num_rows
        groups = groups[1:]
    batches = file.iter_batches(BATCH_ROWS, row_groups=list(groups), columns=names) if groups else ()
    yield from islice(chain.from_iterable(batch.to_pylist() for batch in batches), skip - before, None)
