"""The arrays at a path, by name: of a file, of a folder with a file or folder per hook, or of a folder of shards."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from data.errors import InputError
from harvest.arrays.array import ArrayInFile, JoinedArrays
from harvest.arrays.cached import is_dataset, read_dataset
from harvest.arrays.formats import read_npy, read_safetensors, read_zarr

READERS: dict[str, Callable[[Path], dict[str, ArrayInFile]]] = {
    ".npy": read_npy, ".safetensors": read_safetensors, ".zarr": read_zarr,
    "a dataset": read_dataset,
}  # fmt: skip
# The name of a numbered file that is a part of an array, as 00001, shard_1 or part-00001-of-00005.
NUMBERED = re.compile(
    r"(?:(?:shard|part|chunk|batch|activations?|acts|data|tokens)[-_.]?)?(\d{1,18})(?:[-_]of[-_](\d{1,18}))?"
)


def find_arrays(path: Path, option: str) -> dict[str, ArrayInFile]:
    """Return the arrays at a path by name, in natural order. Raises InputError, naming the option, if there are none.

    A .npy file has one array, named after the file; .safetensors and .zarr may have several. A folder has either
    numbered files, which are parts of the same arrays, or a file, or a folder of numbered files, per array.
    """
    if not path.exists():
        raise InputError(f"{option} {path}: there is no such file or folder")
    kind = _kind(path)
    if kind is not None:
        arrays = READERS[kind](path)
    elif path.is_dir():
        arrays = _in_folder(path, option)
    else:
        arrays = {}
    if not arrays:
        raise InputError(f"{option} {path}: holds no arrays; give {', '.join(READERS)}, or a folder of such files")
    return {name: arrays[name] for name in sorted(arrays, key=natural)}


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts names by the numbers in them: blocks.2 before blocks.10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _kind(path: Path) -> str | None:
    """Return the key in READERS of a file, a Zarr folder or a dataset; None for other files and folders."""
    if path.is_file():
        return path.suffix if path.suffix in (".npy", ".safetensors") else None
    if is_dataset(path):
        return "a dataset"
    return ".zarr" if any((path / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup")) else None


def _in_folder(folder: Path, option: str) -> dict[str, ArrayInFile]:
    children = sorted(
        (child for child in folder.iterdir() if not child.name.startswith(".")), key=lambda c: natural(c.name)
    )
    files = [child for child in children if _kind(child) is not None]
    numbers = [NUMBERED.fullmatch(file.stem) for file in files]
    if files and all(numbers):
        _check_numbers(folder, [(int(m[1]), m[2]) for m in numbers if m is not None], option)
        return _joined(files)
    if any(numbers):
        numbered = next(file for file, match in zip(files, numbers, strict=True) if match)
        other = next(file for file, match in zip(files, numbers, strict=True) if not match)
        raise InputError(
            f"{option} {folder}: has {numbered.name}, which is a part of an array by its name, beside {other.name}; "
            "give the parts of each array a folder of their own"
        )
    arrays: dict[str, ArrayInFile] = {}
    for child in children:
        if child in files:
            of_child = READERS[_kind(child) or ""](child)
        elif child.is_dir():
            parts = _in_folder(child, option)
            of_child = {child.name: next(iter(parts.values()))} if len(parts) == 1 else parts
        else:
            continue
        twice = next((name for name in of_child if name in arrays), None)
        if twice is not None:
            raise InputError(f"{option} {folder}: has the array {twice} twice; give each array a name of its own")
        arrays |= of_child
    return arrays


def _check_numbers(folder: Path, numbers: Sequence[tuple[int, str | None]], option: str) -> None:
    """Raise InputError if a numbered part is missing."""
    have = sorted(number for number, _ in numbers)
    missing = [number for number in range(have[0], have[0] + len(have)) if number not in set(have)]
    of = {int(total) for _, total in numbers if total is not None}
    if missing or have[0] > 1 or (of and of != {len(have)}):
        lacks = f"lacks part {missing[0]}" if missing else f"has the parts {have[0]} to {have[-1]}, not all"
        raise InputError(f"{option} {folder}: {lacks}; put it back, or name the parts 0 to {len(have) - 1}")


def _joined(files: Sequence[Path]) -> dict[str, ArrayInFile]:
    """Return the arrays whose parts are the files, in their order."""
    parts = [READERS[_kind(file) or ""](file) for file in files]
    if all(len(part) == 1 for part in parts) and len({next(iter(part)) for part in parts}) > 1:
        return {files[0].parent.name: JoinedArrays([next(iter(part.values())) for part in parts])}
    for file, part in zip(files, parts, strict=True):
        if part.keys() != parts[0].keys():
            raise InputError(f"{file}: has other arrays than {files[0].name}: {', '.join(part)[:200]}")
    return {name: JoinedArrays([part[name] for part in parts]) for name in parts[0]}
