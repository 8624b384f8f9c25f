"""Sources of documents: the hub (streamed), local files, or the demo text.

A source yields batches. Each batch carries the state that continues after it, from which an interrupted harvest
resumes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal, Protocol

from data.errors import InputError
from harvest.demo import text as demo_text
from harvest.text.columns import Document, choose_column
from harvest.text.file_rows import BadRow
from harvest.text.local_files import has_known_format
from harvest.text.rows import HubRows, Rows, State, open_local

THE_PILE = "monology/pile-uncopyrighted"  # the dataset of the post
BATCH_DOCUMENTS = 256
BATCH_SIZE = 1 << 22  # characters or token ids; a batch ends once it has as many


@dataclass(frozen=True)
class Batch:
    """Consecutive documents: texts, or token ids, int64 [n] each."""

    documents: list[Document]
    places: list[str]  # how messages name each document's row
    n_null: int  # rows of the batch without a document
    state: State  # continues after the batch


class Source(Protocol):
    """Documents in a fixed order."""

    label: str  # what provenance records
    fingerprint: str | None  # of the content; None if the hub has none
    kind: Literal["text", "tokens"]
    split: str | None  # None if there are no splits

    def batches(self, state: State | None) -> Iterator[Batch]:
        """Yield batches from the start, or after the batch with that state. Raises InputError at a malformed row."""


@dataclass(frozen=True)
class DatasetChoice:
    """The options that name a dataset; None if an option is not given."""

    name: str
    config: str | None = None
    split: str | None = None
    column: str | None = None


def open_source(choice: DatasetChoice) -> Source:
    """Open a dataset. Raises InputError if it does not exist, has no text, or an option does not apply to it."""
    if choice.name == "demo":
        _refuse(choice, "demo", config=choice.config, split=choice.split, column=choice.column)
        return DemoSource()
    path = Path(choice.name)
    if path.exists():
        _refuse(choice, "local files", config=choice.config)
        return DatasetSource(choice, open_local(path, option=f"--dataset {choice.name}", split=choice.split))
    if choice.name.startswith((".", "/", "~")) or has_known_format(choice.name):
        raise InputError(f"--dataset {choice.name}: there is no such file or folder")
    return DatasetSource(choice, HubRows(choice.name, choice.config, choice.split))


def _refuse(choice: DatasetChoice, what: str, **options: str | None) -> None:
    names = {"config": "--dataset-config", "split": "--dataset-split", "column": "--text-column"}
    for option, value in options.items():
        if value is not None:
            raise InputError(f"--dataset {choice.name}: {names[option]} {value} does not apply to {what}; leave it out")


class DemoSource:
    """The demo text (demo/text.py), each document once."""

    kind: Literal["text", "tokens"] = "text"
    label = "demo"
    fingerprint: str | None
    split: str | None = None

    def __init__(self) -> None:
        self._documents: list[Document] = list(dict.fromkeys(demo_text.documents()))
        self.fingerprint = hashlib.sha256("\0".join(map(str, self._documents)).encode()).hexdigest()

    def batches(self, state: State | None) -> Iterator[Batch]:
        begin = state["documents"] if state else 0
        for i in range(begin, len(self._documents), BATCH_DOCUMENTS):
            batch = self._documents[i : i + BATCH_DOCUMENTS]
            places = [f"document {i + 1 + k}" for k in range(len(batch))]
            yield Batch(batch, places, 0, {"documents": i + len(batch)})


class DatasetSource:
    """The documents in one column of a dataset."""

    def __init__(self, choice: DatasetChoice, rows: Rows) -> None:
        self.label, self.fingerprint, self.split = rows.label, rows.fingerprint, rows.split
        self._option = f"--dataset {choice.name}"
        beginning = rows.read(None)
        first = next(beginning, None)
        if first is None:
            raise InputError(f"{self._option}: it has no documents")
        column = choose_column(chain([first], beginning), choice.column)
        if column is None:
            names = ", ".join(f"{name} ({type(value).__name__})" for name, value in first.items())
            raise InputError(
                f"{self._option}: no column {choice.column or 'text or input_ids'} of text or token ids; it has "
                f"{names or 'no columns'}; name one with --text-column"
            )
        self.kind: Literal["text", "tokens"] = column.kind
        self._column, self._rows = column, rows
        rows.select(column.name, column.beside)

    def batches(self, state: State | None) -> Iterator[Batch]:
        documents: list[Document] = []
        places: list[str] = []
        size = n_null = 0
        for row in self._rows.read(state):
            try:
                document = self._column.document(row)
            except BadRow as error:
                raise InputError(f"{self._option}: {self._rows.place} {error}") from error
            if document is None:
                n_null += 1
            else:
                documents.append(document)
                places.append(self._rows.place)
                size += len(document)
            if len(documents) + n_null >= BATCH_DOCUMENTS or size >= BATCH_SIZE:
                yield Batch(documents, places, n_null, self._rows.state())
                documents, places, size, n_null = [], [], 0, 0
        if documents or n_null:
            yield Batch(documents, places, n_null, self._rows.state())
