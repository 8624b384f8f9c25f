"""Find the data files of a local dataset, their formats and splits, and compute their fingerprint."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from data.command.libraries.hub import is_pointer
from data.errors import InputError
from data.system.limits import disk_threads

# By file extension, before the extension of a compression.
FORMATS = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".txt": "text", ".md": "text"}
COMPRESSIONS = (".gz", ".zst", ".bz2", ".xz")

# Files that describe a dataset repository.
CARDS = re.compile(r"(readme|licen[cs]e|citation|changelog|contributing)([.\-_].*)?", re.IGNORECASE)
METADATA = {"dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json"}

# A split in the name of a file or folder: train/…, train-00000-of-00002.parquet, test.jsonl
SPLIT = re.compile(r"(train|validation|valid|val|dev|test)(?:ing)?(?![a-z])", re.IGNORECASE)
SPLIT_ALIASES = {"valid": "validation", "val": "validation", "dev": "validation"}


@dataclass(frozen=True)
class DataFile:
    """A file of a dataset; `name` is its path within the dataset's folder, with slashes."""

    path: Path
    name: str

    @property
    def format(self) -> str | None:
        """`parquet`, `json` or `text`; None for other file extensions."""
        suffixes = [suffix.lower() for suffix in self.path.suffixes]
        if suffixes and suffixes[-1] in COMPRESSIONS:
            suffixes.pop()
        return FORMATS.get(suffixes[-1]) if suffixes else None

    @property
    def split(self) -> str | None:
        """The split in the name, such as `train` for `data/train-00000.parquet`; None if there is none."""
        matches = (SPLIT.match(part) for part in self.name.split("/"))
        return next((canonical_split(match[1]) for match in matches if match), None)


def canonical_split(name: str) -> str:
    """Return the usual name of a split: `validation` for `val`, `valid` and `dev`."""
    return SPLIT_ALIASES.get(name.lower(), name.lower())


def has_known_format(name: str) -> bool:
    """Return whether a file name has the extension of a known format."""
    return DataFile(Path(name), name).format is not None


def find_files(path: Path, *, option: str, split: str | None) -> tuple[list[DataFile], str | None]:
    """Return the data files of a file or folder, sorted by name, and their split.

    A folder has splits if its names contain `train` and another split; then the files of `split` are returned, by
    default those of `train`. Otherwise all files are, with the split None. Hidden files and files that describe the
    repository (README, licence, …) are left out. `option` begins the messages.

    Raises InputError if there are no files or several formats, a file cannot be read, or the split does not exist.
    """
    is_file = path.is_file()
    try:
        files = [DataFile(path, path.name)] if is_file else list(_files_below(path))
    except OSError as error:
        raise InputError(f"{option}: {error.filename} cannot be read ({error.strerror})") from error
    files, chosen = _of_split(files, option=option, split=split)
    formats = {file.format for file in files}
    if len(formats) != 1 or None in formats:
        examples = sorted({file.format: f"{file.format} ({file.name})" for file in files if file.format}.values())
        raise InputError(
            f"{option}: expected {'a file' if is_file else 'files'} of one format ({', '.join(FORMATS)}, plain or "
            f"compressed: {', '.join(COMPRESSIONS)}); found {', '.join(examples) or 'none'}"
        )
    for file in files:
        _check_readable(file, option)
    return files, chosen


def _files_below(folder: Path) -> Iterator[DataFile]:
    """Yield the files of known formats, following links, without hidden files and those that describe a repository.

    In a folder of text files a README.md in a subfolder is a document, and a folder with nothing else is its README.
    """
    files: list[DataFile] = []
    has_other_formats = False
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
                has_other_formats = has_other_formats or not CARDS.fullmatch(name)
    data = [file for file in files if not ("/" not in file.name and CARDS.fullmatch(file.name))]
    if {file.format for file in data} - {"text"}:
        data = [file for file in data if not CARDS.fullmatch(file.path.name)]
    yield from sorted(data or ([] if has_other_formats else files), key=lambda file: file.name.split("/"))


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
    """Return the SHA-256 of the names, sizes and bytes of files."""
    digest = hashlib.sha256()
    with ThreadPoolExecutor(disk_threads()) as threads:
        for file, content in zip(files, threads.map(_sha256, files), strict=True):
            digest.update(f"{file.name} {file.path.stat().st_size} {content}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _sha256(file: DataFile) -> str:
    with open(file.path, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
