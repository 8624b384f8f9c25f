"""Where text comes from: the hub (streamed), local files, or the demo; each as batches of documents with a cursor.

A batch comes with the state that continues after it, so an interrupted run goes on where its last batch ended.

Not here: tokenising (tokens.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

import datasets

from data.errors import InputError
from harvest.demo import text as demo_text

THE_PILE = "monology/pile-uncopyrighted"  # the post's data
BATCH_DOCUMENTS = 256
FINGERPRINT_BYTES = 1 << 20

# By file name ending, compressed ones included (datasets decompresses them).
FORMATS = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".txt": "text", ".md": "text"}
COMPRESSED = {".gz", ".zst", ".bz2", ".xz"}

State = dict[str, Any]
Batch = list[str] | list[list[int]]


class Source(Protocol):
    """Documents in a fixed order."""

    label: str  # as provenance records it
    fingerprint: str | None  # of the content; None where the hub gives none
    kind: Literal["text", "tokens"]

    def batches(self, state: State | None) -> Iterator[tuple[Batch, State]]:
        """Batches of documents, each with the state after it; from the start, or from after a batch."""


@dataclass(frozen=True)
class DatasetChoice:
    """The options that name a dataset."""

    name: str
    config: str | None = None
    split: str = "train"
    column: str | None = None


def open_source(choice: DatasetChoice) -> Source:
    """Open `--dataset`. Raises InputError where it cannot be found or has no text."""
    return DemoSource() if choice.name == "demo" else DatasetSource(choice)


class DemoSource:
    """The text that every Python installation carries."""

    kind: Literal["text", "tokens"] = "text"
    label = "demo"
    fingerprint: str | None

    def __init__(self) -> None:
        self._documents = list(dict.fromkeys(demo_text.documents()))
        self.fingerprint = hashlib.sha256("\0".join(self._documents).encode()).hexdigest()

    def batches(self, state: State | None) -> Iterator[tuple[Batch, State]]:
        begin = state["documents"] if state else 0
        for i in range(begin, len(self._documents), BATCH_DOCUMENTS):
            batch = self._documents[i : i + BATCH_DOCUMENTS]
            yield batch, {"documents": i + len(batch)}


class DatasetSource:
    """A dataset read through the library `datasets`, streamed: nothing is copied to its cache."""

    fingerprint: str | None
    kind: Literal["text", "tokens"]

    def __init__(self, choice: DatasetChoice) -> None:
        path = Path(choice.name)
        self.label = path.resolve().name if path.exists() else choice.name
        try:
            if path.exists():
                self._data, self.fingerprint = _open_local(path, choice)
            else:
                self._data = datasets.load_dataset(choice.name, choice.config, split=choice.split, streaming=True)
                self.fingerprint = _hub_revision(choice.name)
            example = next(iter(self._data), None)
        except InputError:
            raise
        except StopIteration:  # what `datasets` does with an empty file
            example = None
        except Exception as error:  # the transports' and formats' errors have no base class in common
            reason = str(error).strip().split("\n")[0][:200]
            if path.exists():
                raise InputError(f"--dataset {choice.name}: cannot be read; is it damaged? ({reason})") from error
            if choice.name.startswith((".", "/", "~")) or _format(path):
                raise InputError(f"--dataset {choice.name}: there is no such file or folder") from error
            raise InputError(
                f"--dataset {choice.name}: neither a local text, JSON-lines or parquet file or folder, nor a dataset "
                f"on the hub ({reason})"
            ) from error
        if example is None:
            raise InputError(f"--dataset {choice.name}: it has no documents")
        self.column, self.kind = _choose_column(choice, example)
        self._data = self._data.select_columns([self.column])

    def batches(self, state: State | None) -> Iterator[tuple[Batch, State]]:
        if state:
            self._data.load_state_dict(state)
        rows = iter(self._data)
        while batch := [row[self.column] or "" for row in islice(rows, BATCH_DOCUMENTS)]:
            yield batch, self._data.state_dict()


def _choose_column(choice: DatasetChoice, example: dict[str, Any]) -> tuple[str, Literal["text", "tokens"]]:
    column = choice.column or next((name for name in ("text", "input_ids") if name in example), None)
    value = example.get(column or "")
    if column is not None and isinstance(value, str):
        return column, "text"
    if column is not None and isinstance(value, list) and all(isinstance(i, int) for i in value):
        return column, "tokens"
    found = ", ".join(f"{name} ({type(content).__name__})" for name, content in example.items())
    raise InputError(
        f"--dataset {choice.name}: no column {column or 'text or input_ids'} of text or token ids; it has {found}; "
        "name one with --text-column"
    )


def _open_local(path: Path, choice: DatasetChoice) -> tuple[Any, str]:
    """A file, a folder of files of one format, or a folder that `save_to_disk` wrote."""
    if (path / "state.json").exists():
        return datasets.load_from_disk(str(path)).to_iterable_dataset(), _fingerprint(sorted(path.glob("*.arrow")))
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file() and _format(p))
    formats = {_format(p) for p in files}
    if len(formats) != 1 or None in formats:
        found = ", ".join(sorted(f for f in formats if f)) or "none"
        raise InputError(
            f"--dataset {choice.name}: expected files of one format ({', '.join(FORMATS)}, plain or compressed); "
            f"found {found}"
        )
    kind = str(formats.pop())
    options: dict[str, Any] = {"sample_by": "document"} if kind == "text" else {}
    data = datasets.load_dataset(kind, data_files=[str(p) for p in files], split="train", streaming=True, **options)
    return data, _fingerprint(files)


def _format(path: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return FORMATS.get(suffixes[-1]) if suffixes else None


def _fingerprint(files: list[Path]) -> str:
    """SHA-256 over the names, sizes, first and last mebibyte of files: enough to notice that they changed."""
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with open(path, "rb") as file:
            digest.update(file.read(FINGERPRINT_BYTES))
            file.seek(max(size - FINGERPRINT_BYTES, 0))
            digest.update(file.read(FINGERPRINT_BYTES))
    return digest.hexdigest()


def _hub_revision(name: str) -> str | None:
    """The commit that the hub's dataset is at."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return HfApi().dataset_info(name).sha
    except (HfHubHTTPError, OSError):
        return None
