"""Fuzzed files of other libraries' SAEs."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from data.errors import InputError
from tests.helpers.saes.made_saes import D_MODEL, D_SAE, make
from train import export_sae
from train.interchange.formats.registry import read_foreign

# format → the file of its weights
WEIGHTS = {
    "saelens": "sae_weights.safetensors", "dictionary-learning": "ae.pt", "sparsify": "sae.safetensors",
    "safetensors": "sae.safetensors", "gemma-scope": "params.npz", "gemma-scope-2": "params.safetensors",
    "llama-scope": "checkpoints/final.safetensors", "author": "author.pt",
}  # fmt: skip
CASES = tuple(WEIGHTS)
EXPORTED = ("saelens", "dictionary-learning", "sparsify", "safetensors")


def valid_folders(root: Path) -> dict[str, Path]:
    """Write an SAE of each format below `root`; return its folder by format."""
    folders = {case: root / "valid" / case for case in CASES}
    if folders["author"].exists():
        return folders
    for case in EXPORTED:
        folders[case].parent.mkdir(exist_ok=True)
        export_sae(make("topk" if case == "sparsify" else "gated")[0], to=case, out=folders[case])
    for case in CASES[len(EXPORTED) :]:
        folders[case].mkdir()
    tensors = {
        "w_enc": torch.randn(D_MODEL, D_SAE), "w_dec": torch.randn(D_SAE, D_MODEL), "b_enc": torch.randn(D_SAE),
        "b_dec": torch.randn(D_MODEL), "threshold": torch.rand(D_SAE),
    }  # fmt: skip
    arrays: dict[str, Any] = {name: value.numpy() for name, value in tensors.items()}
    np.savez(folders["gemma-scope"] / "params.npz", **arrays)
    save_file(tensors, folders["gemma-scope-2"] / "params.safetensors")
    linear = {
        "encoder.weight": tensors["w_dec"], "encoder.bias": tensors["b_enc"], "decoder.weight": tensors["w_enc"],
        "decoder.bias": tensors["b_dec"],
    }  # fmt: skip
    config = {
        "dataset_average_activation_norm": {"in": 5.0, "out": 5.0}, "jump_relu_threshold": 0.1, "hook_point_in": "a",
    }  # fmt: skip
    (folders["llama-scope"] / "hyperparams.json").write_text(json.dumps(config), encoding="utf-8")
    (folders["llama-scope"] / "checkpoints").mkdir()
    save_file(linear, folders["llama-scope"] / "checkpoints" / "final.safetensors")
    stacked = {name: value.expand(2, *value.shape).clone() for name, value in linear.items() if name != "decoder.bias"}
    torch.save({"state": {**stacked, "tied_bias": torch.zeros(2, D_MODEL)}}, folders["author"] / "author.pt")
    return folders


def fuzzed(folder: Path, generator: random.Random, scratch: Path) -> str:
    """Read a copy of a folder with one file damaged; return "read" or "refused". Any error but InputError is raised."""
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(folder, scratch)
    file = generator.choice(sorted(path for path in scratch.rglob("*") if path.suffix not in ("", ".py")))
    file.write_bytes(damaged(file.read_bytes(), generator))
    try:
        for foreign in read_foreign(scratch / "author.pt" if (scratch / "author.pt").exists() else scratch):
            foreign.sae()(torch.zeros(2, foreign.shape[1]))
    except InputError:
        return "refused"
    return "read"


def damaged(content: bytes, generator: random.Random) -> bytes:
    """Return content with a few bytes changed, cut, repeated or inserted, mostly where the structure is."""
    changed = bytearray(content)
    for _ in range(generator.choice([1, 1, 2, 8, 64])):
        edge = generator.choice([300, 300, len(changed)])
        place = generator.randrange(max(1, min(edge, len(changed))))
        if generator.random() < 0.3:
            place = len(changed) - 1 - place
        match generator.randrange(5):
            case 0 | 1:
                changed[place : place + 1] = bytes([generator.randrange(256)])
            case 2:
                changed[place : place + generator.randrange(1, 40)] = b""
            case 3:
                changed[place:place] = generator.randbytes(generator.randrange(1, 40))
            case 4:
                changed[place:place] = changed[place : place + generator.randrange(1, 40)]
        if not changed:
            break
    return bytes(changed)
