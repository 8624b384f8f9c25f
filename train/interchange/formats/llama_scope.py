"""Llama Scope: hyperparams.json and checkpoints/final.safetensors. JumpReLU SAEs of scaled inputs.

    x ↦ x √d / E‖x‖, E‖x‖ = dataset_average_activation_norm;   c = π where π > jump_relu_threshold

Its threshold is multiplied by √d / E‖x‖, too, as SAELens does when it loads them.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch

from data.errors import InputError
from data.system.reading import read_json
from train.interchange.foreign import ForeignSAE, linear_maps
from train.interchange.origin import Origin
from train.interchange.reading.array_files import entry, read_safetensors


def read_llama_scope(folder: Path) -> ForeignSAE:
    """Return the SAE of a folder. Raises InputError."""
    path, weights = folder / "hyperparams.json", folder / "checkpoints" / "final.safetensors"
    config = read_json(path)
    norms = entry(config, "dataset_average_activation_norm", dict, path)
    norm, norm_out = entry(norms, "in", float, path), entry(norms, "out", float, path, entry(norms, "in", float, path))
    threshold = entry(config, "jump_relu_threshold", float, path)
    if not (0 < norm < math.inf and 0 <= threshold < math.inf):
        raise InputError(f"{path}: its average norm or its threshold is impossible")
    hook, out = entry(config, "hook_point_in", str, path), config.get("hook_point_out")
    if out not in (None, hook) or norm_out != norm:
        raise InputError(f"{path}: it reads {hook[:80]!r} and writes another hook, so it is no SAE of one hook")
    tensors = linear_maps(
        read_safetensors(weights), weights, encoder="encoder.weight", decoder="decoder.weight", b_dec="decoder.bias",
        b_enc="encoder.bias", transposed=True,
    )  # fmt: skip
    d_sae, d_model = tensors["W_enc"].shape
    scale = norm / d_model**0.5
    tensors["threshold"] = torch.full((d_sae,), threshold / scale)
    return ForeignSAE(
        format="llama-scope",
        path=folder,
        variant="jumprelu",
        tensors=tensors,
        settings={"subtract_bias": False},
        input_scale="sqrt-d",
        scale=scale,
        origin=Origin(hook=hook),
    )
