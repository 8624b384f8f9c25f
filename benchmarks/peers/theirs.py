"""SAEs with random tensors that the other libraries make and save by themselves, and what they compute of rows.

ENVIRONMENT/bin/python benchmarks/peers/theirs.py tests/train/interchange/references    (see README.md)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

D_MODEL, D_SAE, ROWS, K = 12, 40, 8, 5
NORMALISATIONS = ("none", "constant_norm_rescale", "layer_norm")


def rows() -> Tensor:
    return torch.randn(ROWS, D_MODEL, generator=torch.Generator().manual_seed(5)) * 3 + 1


@torch.no_grad()
def randomise(module: torch.nn.Module) -> None:
    """Draw all parameters; thresholds are positive."""
    generator = torch.Generator().manual_seed(6)
    for name, parameter in module.named_parameters():
        drawn = torch.randn(parameter.shape, generator=generator) * 0.3
        parameter.copy_(drawn.abs() if "threshold" in name else drawn)


@torch.no_grad()
def record(folder: Path, f: Tensor, x_hat: Tensor, scale: Tensor | None = None) -> None:
    """Write rows and what the library computes of them; scale: f over the f of an SAE here [d_sae]."""
    arrays = {"x": rows(), "f": f, "x_hat": x_hat, "scale": torch.ones(D_SAE) if scale is None else scale}
    values: dict[str, Any] = {name: value.detach().numpy() for name, value in arrays.items()}
    np.savez_compressed(folder / "rows.npz", **values)


def save_theirs(root: Path) -> None:
    """Save SAEs of all libraries below a folder."""
    save_saelens(root / "saelens")
    save_dictionary_learning(root / "dictionary-learning")
    save_sparsify(root / "sparsify")


def save_saelens(root: Path) -> None:
    from sae_lens import SAE

    metadata = {"model_name": "gpt2", "hook_name": "blocks.3.hook_mlp_out"}
    cases: dict[str, dict[str, Any]] = {
        **{f"standard-{name}": {"architecture": "standard", "normalize_activations": name} for name in NORMALISATIONS},
        "standard-uncentred": {"architecture": "standard", "apply_b_dec_to_input": False},
        "topk": {"architecture": "topk", "k": K},
        "topk-rescaled": {"architecture": "topk", "k": K, "rescale_acts_by_decoder_norm": True},
        "jumprelu": {"architecture": "jumprelu"},
        "jumprelu-uncentred": {"architecture": "jumprelu", "apply_b_dec_to_input": False},
        "gated": {"architecture": "gated"},
    }
    for name, options in cases.items():
        config = {"d_in": D_MODEL, "d_sae": D_SAE, "metadata": metadata, **options}
        sae = SAE.from_dict(config)
        randomise(sae)
        sae.save_model(root / name)
        f = sae.encode(rows())
        scale = sae.W_dec.norm(dim=1) if options.get("rescale_acts_by_decoder_norm") else None
        record(root / name, f, sae(rows()), scale)


def save_dictionary_learning(root: Path) -> None:
    from dictionary_learning.dictionary import AutoEncoder, AutoEncoderNew, GatedAutoEncoder, JumpReluAutoEncoder
    from dictionary_learning.trainers.batch_top_k import BatchTopKSAE
    from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE
    from dictionary_learning.trainers.top_k import AutoEncoderTopK

    sizes = (D_MODEL, D_SAE)
    made = [
        AutoEncoder(*sizes), AutoEncoderNew(*sizes), GatedAutoEncoder(*sizes), JumpReluAutoEncoder(*sizes),
        AutoEncoderTopK(*sizes, K), BatchTopKSAE(*sizes, K), MatryoshkaBatchTopKSAE(*sizes, K, [10, 10, 20]),
    ]  # fmt: skip
    for dictionary in made:
        name = type(dictionary).__name__
        randomise(dictionary)
        if name in ("BatchTopKSAE", "MatryoshkaBatchTopKSAE"):
            dictionary.threshold.fill_(0.6)
        (root / name).mkdir(parents=True)
        torch.save(dictionary.state_dict(), root / name / "ae.pt")
        trainer = {"dict_class": name, "k": K, "layer": 3, "lm_name": "gpt2", "submodule_name": "resid_post_layer_3"}
        (root / name / "config.json").write_text(json.dumps({"trainer": trainer}), encoding="utf-8")
        record(root / name, dictionary.encode(rows()), dictionary(rows()))


def save_sparsify(root: Path) -> None:
    from sparsify import SparseCoder, SparseCoderConfig

    coder = SparseCoder(D_MODEL, SparseCoderConfig(k=K, num_latents=D_SAE))
    randomise(coder)
    coder.save_to_disk(root / "topk")
    encoded = coder.encode(rows())
    f = torch.zeros(ROWS, D_SAE).scatter_(-1, encoded.top_indices, encoded.top_acts)
    record(root / "topk", f, coder.decode(encoded.top_acts, encoded.top_indices))


if __name__ == "__main__":
    save_theirs(Path(sys.argv[1]))
