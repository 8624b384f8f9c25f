"""A fitted SAE from its files: needs no store and no trainer.

from train import load_sae
sae = load_sae("runs/demo/nsae/nsae_l1=5e-06", hook="blocks.2.hook_mlp_out")
c = sae.encode(x)           # x float32 [batch, d_model] → [batch, d_sae]
x_hat = sae.decode(c)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from data.errors import InputError
from train.output.checked import DamagedRunError, check_extent, parse_json
from train.output.run_folder import METADATA, SAE_FILE, STATE_JSON, RunFolder, read_info
from train.sae import ARCHITECTURES, PARAMETERS, SAE


@dataclass(frozen=True)
class About:
    """What sae.safetensors says of itself, in its metadata."""

    run: str
    variant: str
    hooks: tuple[str, ...]
    store: str


def load_sae(
    path: str | Path, hook: str | None = None, *, layer: int | None = None, device: str | torch.device = "cpu"
) -> SAE:
    """Load one SAE of a run: of a hook's full name, or of a layer's number; neither is needed where there is but one.

    `path` is a run's folder (its final weights, else its last checkpoint), or a checkpoint's, or a snapshot's. The file
    is compared with its checksum, once per process.

    Raises InputError where there is none, and DamagedRunError where it is not as it was written.
    """
    file = find_weights(Path(path))
    check_extent(file, read_info(file.parent).files[SAE_FILE], whole=True)
    try:
        with safe_open(file, framework="pt", device=str(device)) as opened:
            about = parse_json(About, (opened.metadata() or {}).get(METADATA, "").encode(), file)
            architecture = ARCHITECTURES.get(about.variant)
            if architecture is None:
                raise InputError(f"{file} holds an SAE of the variant {about.variant!r}, which is not known here")
            index = about.hooks.index(choose_hook(about.hooks, hook, layer, file))
            tensors = _tensors(opened, architecture, len(about.hooks), index, file)
    except SafetensorError as error:
        raise DamagedRunError(f"{file} is damaged ({error})") from error
    d_sae, d_model = tensors["W_enc"].shape
    sae = architecture(d_model=d_model, d_sae=d_sae).to(device)
    sae.load_state_dict(tensors)
    return sae.eval()


def _tensors(opened: Any, architecture: type[SAE], layers: int, index: int, file: Path) -> dict[str, torch.Tensor]:
    """The tensors of the SAE `index`. Raises DamagedRunError where their shapes do not fit together."""
    names = (*PARAMETERS, *architecture.constants)
    slices = {name: opened.get_slice(name) for name in names}
    shape = {name: tuple(one.get_shape()) for name, one in slices.items()}
    _, d_sae, d_model = shape["W_enc"] if len(shape["W_enc"]) == 3 else (0, 0, 0)
    sizes = {"W_enc": (d_sae, d_model), "W_dec": (d_sae, d_model), "b_enc": (d_sae,), "b_dec": (d_model,)}
    for name, one in slices.items():
        expected = (layers, *sizes.get(name, ()))
        if shape[name] != expected or one.get_dtype() != "F32" or not d_sae * d_model:
            raise DamagedRunError(f"{file} is damaged: {name} is {one.get_dtype()} {list(shape[name])}")
    return {name: one[index] for name, one in slices.items()}


def find_weights(path: Path) -> Path:
    """The sae.safetensors that a path means. Raises InputError where there is none."""
    if path.name == SAE_FILE and path.is_file():
        return path
    inside = any((path / name).exists() for name in (SAE_FILE, STATE_JSON))
    folder = path if inside else RunFolder(path).newest()
    if folder is None:
        raise InputError(f"there is no trained SAE at {path}; give a run's folder, such as runs/NAME/RUN")
    return folder / SAE_FILE


def choose_hook(hooks: Sequence[str], hook: str | None, layer: int | None, file: Path) -> str:
    fitting = [name for name in hooks if (hook or name) == name and (layer is None or f"blocks.{layer}." in name)]
    if len(fitting) != 1:
        raise InputError(f"{file} has SAEs for {', '.join(hooks)}; name one of them")
    return fitting[0]
