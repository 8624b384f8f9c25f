"""Read the rows of a dataset in a fixed order: local files, a folder saved by `datasets`, or a stream from the hub."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import datasets
import pyarrow as pa

from data.command.libraries.hub import why_only_cache
from data.errors import InputError
from harvest.text.file_rows import READ_ERRORS, BadRow, Row, read_rows
from harvest.text.local_files import DataFile, find_files, fingerprint

State = dict[str, Any]

SAVED_BATCH_ROWS = 256


class ReadingStopped(InputError):
    """Reading failed for a reason outside the data, such as the network; the same command can continue later."""


class Rows(Protocol):
    """The rows of a dataset, in a fixed order."""

    label: str  # what provenance records
    fingerprint: str | None  # of the content; None if the hub has none
    split: str | None  # None if there are no splits

    def select(self, column: str, beside: Sequence[str]) -> None:
        """Limit later reads to `column` and the existing columns of `beside`, if that saves work."""

    def read(self, state: State | None) -> Iterator[Row]:
        """Yield rows from the start, or from the row after which `state` was taken.

        Raises InputError if the data are damaged or a row is malformed.
        """

    def state(self) -> State:
        """Return the state that continues after the last row read."""

    @property
    def place(self) -> str:
        """The last row read, as messages name it."""


def open_local(path: Path, *, option: str, split: str | None) -> Rows:
    """Open a file, a folder of files of one format, or a folder written by `save_to_disk`.

    `option` begins the messages. Raises InputError if the path cannot be used.
    """
    if (path / "dataset_dict.json").exists():
        folders = {folder.name: folder for folder in sorted(path.iterdir()) if (folder / "state.json").exists()}
        chosen = split or "train"
        if chosen not in folders:
            raise InputError(f"{option}: --dataset-split {chosen}: there are {', '.join(folders) or 'none'}")
        return SavedRows(folders[chosen], label=path.resolve().name, option=option, split=chosen)
    if (path / "state.json").exists():
        if split is not None:
            raise InputError(f"{option}: --dataset-split {split} does not apply to a single saved split; leave it out")
        return SavedRows(path, label=path.resolve().name, option=option, split=None)
    files, chosen_split = find_files(path, option=option, split=split)
    return FileRows(files, label=path.resolve().name, option=option, split=chosen_split)


class FileRows:
    """The rows of data files, file after file."""

    fingerprint: str | None
    split: str | None

    def __init__(self, files: Sequence[DataFile], *, label: str, option: str, split: str | None) -> None:
        self.label, self.split, self.fingerprint = label, split, fingerprint(files)
        self._files, self._option = files, option
        self._columns: tuple[str, Sequence[str]] | None = None
        self._file = self._row = 0  # the file's index, and how many of its rows are read

    def select(self, column: str, beside: Sequence[str]) -> None:
        self._columns = column, beside

    def read(self, state: State | None) -> Iterator[Row]:
        begin, skip = (state["file"], state["row"]) if state else (0, 0)
        for number in range(begin, len(self._files)):
            self._file, self._row = number, skip
            try:
                for row in read_rows(self._files[number], self._columns, skip):
                    self._row += 1
                    yield row
            except BadRow as error:
                self._row += 1
                raise InputError(f"{self._option}: {self.place} {error}") from error
            except READ_ERRORS as error:
                raise InputError(
                    f"{self._option}: {self._files[number].name} cannot be read after row {self._row}; is it damaged? "
                    f"({_reason(error)})"
                ) from error
            skip = 0

    def state(self) -> State:
        return {"file": self._file, "row": self._row}

    @property
    def place(self) -> str:
        file = "" if len(self._files) == 1 else f"{self._files[self._file].name}, "
        return f"{file}row {self._row} (counting from 1)"


class SavedRows:
    """The rows of a split written by `save_to_disk`."""

    fingerprint: str | None
    split: str | None

    def __init__(self, folder: Path, *, label: str, option: str, split: str | None) -> None:
        self.label, self.split, self._option = label, split, option
        files = [DataFile(path, path.name) for path in sorted(folder.glob("*.arrow"))]
        try:
            if _is_empty(folder):  # `datasets` saves an empty split but cannot load it
                raise InputError(f"{option}: it has no documents")
            self.fingerprint = fingerprint(files)
            self._data = datasets.load_from_disk(str(folder)).with_format(None)
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
            raise InputError(f"{option}: cannot be read; is it damaged? ({_reason(error)})") from error
        self._row = 0

    def select(self, column: str, beside: Sequence[str]) -> None:
        self._data = self._data.select_columns([column, *(set(beside) & set(self._data.column_names))])

    def read(self, state: State | None) -> Iterator[Row]:
        self._row = state["row"] if state else 0
        for begin in range(self._row, len(self._data), SAVED_BATCH_ROWS):
            batch = self._data[begin : begin + SAVED_BATCH_ROWS]
            for values in zip(*batch.values(), strict=True):
                self._row += 1
                yield dict(zip(batch, values, strict=True))

    def state(self) -> State:
        return {"row": self._row}

    @property
    def place(self) -> str:
        return f"row {self._row} (counting from 1)"


class HubRows:
    """The streamed rows of a split of a hub dataset; nothing is cached. The fingerprint is the dataset's commit."""

    fingerprint: str | None
    split: str | None

    def __init__(self, name: str, config: str | None, split: str | None) -> None:
        self.label, self.split, self._option = name, split or "train", f"--dataset {name}"
        only_cache = why_only_cache()
        try:
            self.fingerprint = _commit(name)
            self._data = datasets.load_dataset(
                name, config, split=self.split, streaming=True, revision=self.fingerprint
            )
        except Exception as error:  # the errors of transports and formats share no base class
            if only_cache:
                reason, remedy = only_cache
                raise InputError(
                    f"--dataset {name}: there is no such file or folder, {reason}, and the dataset is not in the hub's "
                    f"cache; {remedy}, or give a local file or folder"
                ) from error
            raise InputError(
                f"--dataset {name}: neither a local text, JSON-lines or parquet file or folder, nor a dataset on the "
                f"hub ({_reason(error)})"
            ) from error
        self._row = 0

    def select(self, column: str, beside: Sequence[str]) -> None:
        names = self._data.column_names  # None if only the rows tell
        if names is not None:
            self._data = self._data.select_columns([column, *(set(beside) & set(names))])

    def read(self, state: State | None) -> Iterator[Row]:
        self._row = 0
        if state:
            self._data.load_state_dict(state["stream"])
            self._row = state["row"]
        rows = iter(self._data)
        while True:
            try:
                row = next(rows, None)
            except StopIteration:  # raised by `datasets` for an empty file
                return
            except Exception as error:  # no shared base class, as above
                raise ReadingStopped(
                    f"{self._option}: reading stopped after row {self._row} ({_reason(error)}); if the network failed, "
                    "the same command goes on"
                ) from error
            if row is None:
                return
            self._row += 1
            yield row

    def state(self) -> State:
        return {"row": self._row, "stream": self._data.state_dict()}

    @property
    def place(self) -> str:
        return f"row {self._row} (counting from 1)"


def _is_empty(folder: Path) -> bool:
    """Return whether a folder written by `save_to_disk` records that it has no data files."""
    state = json.loads((folder / "state.json").read_bytes())
    return isinstance(state, dict) and state.get("_data_files") == []


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".strip().split("\n")[0][:200]


def _commit(name: str) -> str | None:
    """Return the present commit of a hub dataset; None if the hub does not answer."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return HfApi().dataset_info(name).sha
    except (HfHubHTTPError, OSError):
        return None
