"""Find the data files of a local dataset: their formats, their splits, and a fingerprint of their bytes."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from data.errors import InputError
from data.system.limits import disk_threads
from harvest.hub import is_pointer

# By file name ending, before that of a compression.
FORMATS = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".txt": "text", ".md": "text"}
COMPRESSIONS = (".gz", ".zst", ".bz2", ".xz")

# Files of a dataset repository that describe it.
CARDS = re.compile(r"(readme|licen[cs]e|citation|changelog|contributing)([.\-_].*)?", re.IGNORECASE)
METADATA = {"dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json"}

# A split in a file's or folder's name: train/…, train-00000-of-00002.parquet, test.jsonl
SPLIT = re.compile(r"(train|validation|valid|val|dev|test)(?:ing)?(?![a-z])", re.IGNORECASE)
SPLIT_ALIASES = {"valid": "validation", "val": "validation", "dev": "validation"}


@dataclass(frozen=True)
class DataFile:
    """A file of a dataset: `name` is its path within the dataset's folder, with slashes."""

    path: Path
    name: str

    @property
    def format(self) -> str | None:
        """`parquet`, `json` or `text`; None if the name says no known format."""
        suffixes = [suffix.lower() for suffix in self.path.suffixes]
        if suffixes and suffixes[-1] in COMPRESSIONS:
            suffixes.pop()
        return FORMATS.get(suffixes[-1]) if suffixes else None

    @property
    def split(self) -> str | None:
        """The split that a part of the name begins with, such as `train` for `data/train-00000.parquet`."""
        matches = (SPLIT.match(part) for part in self.name.split("/"))
        return next((canonical_split(match[1]) for match in matches if match), None)


def canonical_split(name: str) -> str:
    """The usual name of a split: `val`, `valid` and `dev` mean `validation`."""
    return SPLIT_ALIASES.get(name.lower(), name.lower())


def has_known_format(name: str) -> bool:
    return DataFile(Path(name), name).format is not None


def find_files(path: Path, *, option: str, split: str | None) -> tuple[list[DataFile], str | None]:
    """The data files of `path`, a file or a folder, in the order of their names; and the split that they are.

    A folder counts as having splits if its names say `train` and another one; then only the files of `split`
    (`train` if None) are returned. Otherwise all are, and the split is None. Hidden files and folders, and what
    describes a dataset repository (README, licence, …), are no data. `option` begins the messages.

    Raises InputError if there are no files, or files of several formats, if one cannot be read, or if there is no
    such split.
    """
    whole = path.is_file()
    try:
        files = [DataFile(path, path.name)] if whole else list(_files_below(path))
    except OSError as error:
        raise InputError(f"{option}: {error.filename} cannot be read ({error.strerror})") from error
    files, chosen = _of_split(files, option=option, split=split)
    formats = {file.format for file in files}
    if len(formats) != 1 or None in formats:
        examples = sorted({file.format: f"{file.format} ({file.name})" for file in files if file.format}.values())
        raise InputError(
            f"{option}: expected {'a file' if whole else 'files'} of one format ({', '.join(FORMATS)}, plain or "
            f"compressed: {', '.join(COMPRESSIONS)}); found {', '.join(examples) or 'none'}"
        )
    for file in files:
        _check_readable(file, option)
    return files, chosen


def _files_below(folder: Path) -> Iterator[DataFile]:
    """All files of known formats, links followed, hidden ones and those that describe a repository left out.

    In folders of text, README.md may be a document, and is left out at the top only; if there is nothing else, it is
    the text.
    """
    files: list[DataFile] = []
    others = False  # files of formats that are not known
    visited: set[str] = set()
    for parent, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:  # a link to a folder above
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            path = Path(parent) / name
            if name.startswith(".") or name in METADATA:
                continue
            if has_known_format(name):
                files.append(DataFile(path, path.relative_to(folder).as_posix()))
            else:
                others = others or not CARDS.fullmatch(name)
    data = [file for file in files if not ("/" not in file.name and CARDS.fullmatch(file.name))]
    if {file.format for file in data} - {"text"}:
        data = [file for file in data if not CARDS.fullmatch(file.path.name)]
    yield from sorted(data or ([] if others else files), key=lambda file: file.name.split("/"))


def _raise(error: OSError) -> None:
    raise error


def _of_split(files: list[DataFile], *, option: str, split: str | None) -> tuple[list[DataFile], str | None]:
    splits = {file.split for file in files if file.split}
    if split is None and (len(splits) < 2 or "train" not in splits):
        return files, None
    if not splits:
        raise InputError(
            f"{option}: --dataset-split {split} does not apply to files that are not in splits (such as train/ and "
            "test/); leave it out"
        )
    chosen = canonical_split(split or "train")
    if chosen not in splits:
        raise InputError(f"{option}: --dataset-split {split}: there are {', '.join(sorted(splits))}")
    return [file for file in files if file.split == chosen], chosen


def _check_readable(file: DataFile, option: str) -> None:
    try:
        pointer = is_pointer(file.path)
    except OSError as error:
        raise InputError(f"{option}: {file.name} cannot be read ({error.strerror})") from error
    if pointer:
        raise InputError(f"{option}: {file.name} is a Git LFS pointer, not the data; run `git lfs pull` in its folder")


def fingerprint(files: Sequence[DataFile]) -> str:
    """SHA-256 over the names, sizes and bytes of files; it reads all of them."""
    digest = hashlib.sha256()
    with ThreadPoolExecutor(disk_threads()) as threads:
        for file, content in zip(files, threads.map(_sha256, files), strict=True):
            digest.update(f"{file.name} {file.path.stat().st_size} {content}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _sha256(file: DataFile) -> str:
    with open(file.path, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
