"""A fitted SAE from its files: needs no store and no trainer.

from train import load_sae
sae = load_sae("runs/demo/nsae/nsae_l1=5e-06", hook="blocks.2.hook_mlp_out")
c = sae.encode(x)           # x float32 [batch, d_model] → [batch, d_sae]
x_hat = sae.decode(c)
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from data.errors import InputError
from train.checkpoint import METADATA, SAE_FILE, RunFolder
from train.sae import ARCHITECTURES, PARAMETERS, SAE


def load_sae(
    path: str | Path, hook: str | None = None, *, layer: int | None = None, device: str | torch.device = "cpu"
) -> SAE:
    """Load one SAE of a run: of a hook's full name, or of a layer's number; neither is needed where there is but one.

    `path` is a run's folder (its final weights, else its last checkpoint), or a checkpoint's, or a snapshot's.

    Raises InputError where there is none.
    """
    file = find_weights(Path(path))
    try:
        opening = safe_open(file, framework="pt", device=str(device))
    except SafetensorError as error:
        raise InputError(f"{file} is damaged ({error}); train this run again, or give another checkpoint") from error
    with opening as opened:
        metadata = json.loads((opened.metadata() or {}).get(METADATA, "{}"))
        if metadata.get("variant") not in ARCHITECTURES:
            raise InputError(f"{file} holds an SAE of the variant {metadata.get('variant')!r}, which is not known here")
        hooks: list[str] = metadata["hooks"]
        index = hooks.index(choose_hook(hooks, hook, layer, file))
        architecture = ARCHITECTURES[metadata["variant"]]
        tensors = {name: opened.get_slice(name)[index] for name in (*PARAMETERS, *architecture.facts)}
    d_sae, d_model = tensors["W_enc"].shape
    sae = architecture(d_model=d_model, d_sae=d_sae).to(device)
    sae.load_state_dict(tensors)
    return sae.eval()


def find_weights(path: Path) -> Path:
    """The sae.safetensors that a path means. Raises InputError where there is none."""
    folder = RunFolder(path)
    candidates = [path, path / SAE_FILE, folder.final / SAE_FILE]
    candidates += [path / "checkpoints" / f"{step:09d}" / SAE_FILE for step in reversed(folder.checkpoint_steps())]
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    if found is None:
        raise InputError(f"there is no trained SAE at {path}; give a run's folder, such as runs/NAME/RUN")
    return found


def choose_hook(hooks: list[str], hook: str | None, layer: int | None, file: Path) -> str:
    fitting = [name for name in hooks if (hook or name) == name and (layer is None or f"blocks.{layer}." in name)]
    if len(fitting) != 1:
        raise InputError(f"{file} has SAEs for {', '.join(hooks)}; name one of them")
    return fitting[0]
