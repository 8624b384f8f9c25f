"""Gemma Scope: params.npz, and Gemma Scope 2: params.safetensors with lower-case names. JumpReLU SAEs of raw inputs.

c = π where π > threshold,   π = x W_enc + b_enc,   x̂ = c W_dec + b_dec
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from data.errors import InputError
from data.system.reading import read_json
from train.interchange.foreign import ForeignSAE, linear_maps, tensor
from train.interchange.origin import Origin
from train.interchange.reading.array_files import read_npz, read_safetensors


def read_gemma_scope(folder: Path) -> ForeignSAE:
    """Return the SAE of a folder. Raises InputError."""
    npz = folder / "params.npz"
    weights = npz if npz.exists() else folder / "params.safetensors"
    saved = read_npz(weights) if weights == npz else read_safetensors(weights)
    return _converted({name.lower(): value for name, value in saved.items()}, weights, folder)


def _converted(saved: dict[str, Tensor], weights: Path, folder: Path) -> ForeignSAE:
    if any("skip" in name for name in saved):
        raise InputError(f"{weights}: has a skip connection, so it is a transcoder and no SAE of one hook")
    tensors = linear_maps(saved, weights, encoder="w_enc", decoder="w_dec", b_dec="b_dec", b_enc="b_enc")
    tensors["threshold"] = tensor(saved, "threshold", (tensors["W_enc"].shape[0],), weights)
    config = read_json(folder / "config.json") if (folder / "config.json").exists() else {}
    read, written = config.get("hf_hook_point_in"), config.get("hf_hook_point_out")
    if written not in (None, read):
        raise InputError(
            f"{folder / 'config.json'}: it reads {str(read)[:80]} and writes {str(written)[:80]}, so it is a "
            "transcoder and no SAE of one hook"
        )
    model = config.get("model_name")
    return ForeignSAE(
        format="gemma-scope",
        path=folder,
        variant="jumprelu",
        tensors=tensors,
        settings={"subtract_bias": False},
        origin=Origin(model=model if isinstance(model, str) else None),
    )
