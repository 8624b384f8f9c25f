"""Write one list of texts as a dataset in each format, and open and read a dataset."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from harvest.text.sources import BATCH_DOCUMENTS, DatasetChoice, open_source

TEXTS = [f"document {i} " + "word " * (i % 7) for i in range(3 * BATCH_DOCUMENTS + 5)]
LINES = "".join(json.dumps({"text": t, "n": i}) + "\n" for i, t in enumerate(TEXTS)).encode()
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: zstandard.compress(data[:9999]) + zstandard.compress(data[9999:]),  # two frames
}


def parquet_bytes(columns: dict[str, list[Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, row_group_size=100)
    return sink.getvalue().to_pybytes()


def write(folder: Path, kind: str) -> Path:
    """Write TEXTS as a dataset of a kind, such as "jsonl.gz" or "saved", and return its path."""
    path = folder / f"texts.{kind}"
    name, _, compression = kind.partition(".")
    contents = {
        "jsonl": LINES,
        "json": json.dumps([{"text": t} for t in TEXTS], indent=1).encode(),
        "parquet": parquet_bytes({"n": list(range(len(TEXTS))), "text": TEXTS}),
    }
    if name in contents:
        path.write_bytes(COMPRESS[compression](contents[name]) if compression else contents[name])
    elif kind == "folder":
        path.mkdir()
        for i, part in enumerate((TEXTS[:500], TEXTS[500:])):
            (path / f"part-{i}.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in part))
    elif kind == "saved":
        datasets.Dataset.from_dict({"text": TEXTS}).save_to_disk(str(path), num_shards=2)
    elif kind == "saved dict":
        parts = {"test": ["not these"], "train": TEXTS}
        datasets.DatasetDict({k: datasets.Dataset.from_dict({"text": v}) for k, v in parts.items()}).save_to_disk(path)
    return path


def open_path(path: Path, **options: str) -> Any:
    return open_source(DatasetChoice(str(path), **options))


def read(source: Any, state: Any = None) -> list[Any]:
    return [document for batch in source.batches(state) for document in batch.documents]
