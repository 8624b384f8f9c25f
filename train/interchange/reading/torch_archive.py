"""Read the tensors of a file that `torch.save` wrote: a zip of raw storages, and a pickle that says what they are.

The pickle is read by pickled.py, so no code of the file runs. Files of PyTorch before 1.6, which are not zips, are
refused.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data.system.reading import naming
from train.interchange.reading.pickled import Call, Name, Persistent, read_pickle

DTYPES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip
TENSOR = Name("torch._utils", "_rebuild_tensor_v2")
PARAMETER = Name("torch._utils", "_rebuild_parameter")
DEPTH = 20  # of nested values


def read_torch(path: Path) -> dict[str, Any]:
    """Return the dictionary that a file holds, with tensors; objects within it are `Call`s. Raises InputError."""
    with naming(path), zipfile.ZipFile(path) as archive:
        content = _content(archive)
        if not isinstance(content, dict):
            content = {"": content}
        return {str(name): value for name, value in content.items()}


def tensors_in(value: Any, name: str) -> dict[str, Tensor] | None:
    """Return the first dictionary of tensors with an entry `name` that is in a value, also in an object's state."""
    waiting, seen = [value], set[int]()
    while waiting:
        part = waiting.pop(0)
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, dict) and isinstance(part.get(name), Tensor):
            return {str(key): tensor for key, tensor in part.items() if isinstance(tensor, Tensor)}
        if isinstance(part, Call):
            waiting += [part.state, part.items, part.arguments]
        elif isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, (list, tuple)):
            waiting += part
    return None


def _content(archive: zipfile.ZipFile) -> Any:
    names = [name for name in archive.namelist() if name.endswith("data.pkl")]
    if len(names) != 1:
        raise ValueError("it is a zip without the data.pkl of PyTorch")
    root = names[0].removesuffix("data.pkl")
    if f"{root}byteorder" in archive.namelist() and _stored(archive, f"{root}byteorder") != b"little":
        raise ValueError("its numbers are not little-endian")
    return _with_tensors(read_pickle(_stored(archive, names[0])), archive, root, {}, {})


def _stored(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return an entry. Raises ValueError if it is compressed, as PyTorch's never are: it could be of any size."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise ValueError(f"its entry {name[:80]} is compressed")
    return archive.read(info)


def _with_tensors(
    value: Any, archive: zipfile.ZipFile, root: str, seen: dict[int, Any], storages: dict[str, Tensor], depth: int = 0
) -> Any:
    """Return a value of the pickle with its tensors; `seen`: values that are done, by id."""
    if depth > DEPTH:
        raise ValueError("its values are nested too deeply")
    if id(value) in seen:
        return seen[id(value)]

    def inside(part: Any) -> Any:
        return _with_tensors(part, archive, root, seen, storages, depth + 1)

    result = value
    if isinstance(value, Call) and value.function == TENSOR:
        result = _tensor(value.arguments, archive, root, storages)
    elif isinstance(value, Call) and value.function == PARAMETER and isinstance(value.arguments, tuple):
        result = inside(value.arguments[0]) if value.arguments else None
    elif isinstance(value, Call):
        seen[id(value)] = value
        value.state, value.items = inside(value.state), inside(value.items)
    elif isinstance(value, dict):
        seen[id(value)] = value
        for key, part in value.items():
            value[key] = inside(part)
    elif isinstance(value, (list, tuple)):
        result = [inside(part) for part in value]
    seen[id(value)] = result
    return result


def _tensor(arguments: Any, archive: zipfile.ZipFile, root: str, storages: dict[str, Tensor]) -> Tensor:
    """Return the tensor of a call of _rebuild_tensor_v2. Raises ValueError if it lies outside its storage."""
    if not isinstance(arguments, tuple) or len(arguments) < 4 or not isinstance(arguments[0], Persistent):
        raise ValueError("a tensor lacks its storage")
    storage = _storage(arguments[0].key, archive, root, storages)
    offset, shape, strides = arguments[1:4]
    sizes = (shape, strides)
    if not all(isinstance(entry, tuple) and all(type(n) is int for n in entry) for entry in sizes):
        raise ValueError("a tensor has no shape")
    if type(offset) is not int or len(shape) != len(strides) or min((offset, *shape, *strides)) < 0 or len(shape) > 8:
        raise ValueError("a tensor has an impossible shape")
    numel = 1
    for size in shape:
        numel *= size
    end = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) + 1
    if numel > len(storage) or (numel and end > len(storage)):
        raise ValueError("a tensor lies outside its storage")
    return torch.as_strided(storage, shape, strides, offset).clone() if numel else storage[:0].view(*shape)


def _storage(key: Any, archive: zipfile.ZipFile, root: str, storages: dict[str, Tensor]) -> Tensor:
    """Return the storage that a persistent id names: ("storage", its type, its key, the device, its length)."""
    if not isinstance(key, tuple) or len(key) != 5 or key[0] != "storage" or not isinstance(key[1], Name):
        raise ValueError("a tensor lacks its storage")
    dtype, number = DTYPES.get(key[1].name), key[2]
    if dtype is None or key[1].module != "torch" or not isinstance(number, str):
        raise ValueError(f"a tensor is of the type {key[1].name[:80]}")
    if number not in storages:
        content = bytearray(_stored(archive, f"{root}data/{number}"))
        if not content or len(content) % dtype.itemsize:
            storages[number] = torch.empty(0, dtype=dtype)
        else:
            storages[number] = torch.frombuffer(content, dtype=dtype)
    if storages[number].dtype != dtype:
        raise ValueError("a storage has two types")
    return storages[number]
