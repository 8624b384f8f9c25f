"""The checkpoints of the post's author: one file that torch.save wrote, of an object whose state has a component axis.

    encoder.weight [layers, d_sae, d_model], encoder.bias [layers, d_sae], decoder.weight [layers, d_model, d_sae],
    tied_bias [layers, d_model]

The object is not made; its tensors are looked for (reading/torch_archive.py). An SAE whose decoder directions have
norm 1 is a baseline, any other an NSAE: the file says no more.
"""

from __future__ import annotations

from pathlib import Path

import torch

from data.errors import InputError
from train.interchange.foreign import ForeignSAE, tensor
from train.interchange.reading.torch_archive import read_torch, tensors_in

TOLERANCE = 0.02  # of norms: the author's code divides by them before each step


def read_author(file: Path) -> list[ForeignSAE]:
    """Return the SAE of each component. Raises InputError."""
    saved = tensors_in(read_torch(file), "encoder.weight")
    if saved is None:
        raise InputError(f"{file}: has no tensor encoder.weight, so it is not a checkpoint of the post's author")
    encoder = tensor(saved, "encoder.weight", (None, None, None), file)
    layers, d_sae, d_model = encoder.shape
    b_enc = tensor(saved, "encoder.bias", (layers, d_sae), file)
    decoder = tensor(saved, "decoder.weight", (layers, d_model, d_sae), file)
    bias = tensor(saved, "tied_bias", (layers, d_model), file)
    norms = torch.linalg.vector_norm(decoder, dim=1)
    unit = bool(((norms - 1).abs() < TOLERANCE).all())
    variant = "baseline" if unit else "nsae"
    note = f"its decoder directions have {'norm 1' if unit else 'free norms'}, so it is read as {variant}"
    return [
        ForeignSAE(
            format="author",
            path=file,
            variant=variant,
            tensors={
                "W_enc": encoder[i].clone(), "b_enc": b_enc[i].clone(), "W_dec": decoder[i].T.contiguous(),
                "b_dec": bias[i].clone(),
            },
            notes=(note,) if i == 0 else (),
        )
        for i in range(layers)
    ]  # fmt: skip
