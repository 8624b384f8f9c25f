"""The bytes of the files that formats consist of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

Files = dict[str, bytes]  # by name
MODULES = Path(__file__).parent / "modules"


def float32(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors of floating-point numbers as float32, in memory of their own."""
    return {name: tensor.float().contiguous().clone() for name, tensor in tensors.items()}


def safetensors_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Return a .safetensors file."""
    return save(dict(tensors))


def torch_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Return what `torch.save` writes of a dictionary of tensors."""
    file = BytesIO()
    torch.save(dict(tensors), file)
    return file.getvalue()


def json_bytes(value: Any) -> bytes:
    """Return a JSON file."""
    return (json.dumps(value, indent=2) + "\n").encode()


def module_bytes(name: str) -> bytes:
    """Return a Python file of modules/."""
    return (MODULES / name).read_bytes()
