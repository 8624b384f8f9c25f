"""Small SAEs of every architecture with random tensors, and rows that they are tried on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from train.architectures import ARCHITECTURES
from train.normalisation.scales import SCALED_ONLY, InputForm
from train.sae import SAE

D_MODEL, D_SAE, ROWS = 12, 40, 64
CENTRED = InputForm(centred=True)
# name → variant, settings, scale of the inputs, steps of their normalisation
MADE: dict[str, tuple[str, dict[str, Any], float, InputForm]] = {
    "baseline": ("baseline", {}, 1.0, SCALED_ONLY),
    "baseline-scaled": ("baseline", {}, 3.0, SCALED_ONLY),
    "baseline-centred": ("baseline", {}, 3.0, CENTRED),
    "row-norm": ("baseline", {}, 0.7, InputForm(rows="norm")),
    "layer-norm": ("baseline", {}, 1.0, InputForm(rows="deviation")),
    "nsae": ("nsae", {}, 1.0, SCALED_ONLY),
    "nsae-scaled": ("nsae", {}, 3.0, CENTRED),
    "relu": ("relu", {}, 3.0, CENTRED),
    "relu-subtracting": ("relu", {"subtract_bias": True}, 3.0, SCALED_ONLY),
    "gated": ("gated", {}, 3.0, CENTRED),
    "gated-free": ("gated", {"unit_decoder": False}, 3.0, CENTRED),
    "topk": ("topk", {"k": 5}, 3.0, CENTRED),
    "topk-free": ("topk", {"k": 5, "unit_decoder": False}, 3.0, CENTRED),
    "batchtopk": ("batchtopk", {"k": 5}, 3.0, CENTRED),
    "batchtopk-free": ("batchtopk", {"k": 5, "unit_decoder": False}, 3.0, CENTRED),
    "jumprelu": ("jumprelu", {}, 3.0, CENTRED),
    "jumprelu-uncentred": ("jumprelu", {"subtract_bias": False, "unit_decoder": False}, 3.0, CENTRED),
    "matryoshka": ("matryoshka", {"k": 5, "prefixes": "1/4+1/4+1/2"}, 3.0, CENTRED),
    "p-anneal": ("p-anneal", {}, 3.0, CENTRED),
    "frozen": ("frozen", {"k": 5}, 3.0, CENTRED),
}


def make(name: str, d_model: int = D_MODEL, d_sae: int = D_SAE) -> tuple[SAE, Tensor]:
    """Return an SAE of MADE, and rows [ROWS, d_model]. With free decoder rows, one of them is 0."""
    variant, settings, scale, form = MADE[name]
    architecture = ARCHITECTURES[variant]
    generator = torch.Generator().manual_seed(sum(map(ord, name)))

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    made = replace(architecture.Settings(), **settings)
    sae = architecture(d_model=d_model, d_sae=d_sae, settings=made, input_form=form)
    sae.initialise(seed=1, mean_norm=2.0)
    sae.W_enc.copy_(normal(d_sae, d_model) * 0.3)
    free = "W_dec" in sae.specs and not sae.specs["W_dec"].unit_rows
    if free:
        sae.W_dec.copy_(normal(d_sae, d_model))
        sae.W_dec[3] = 0
    for tensor in ("b_enc", "b_dec", "b_gate", "b_mag", "r_mag"):
        if hasattr(sae, tensor):
            value: Tensor = getattr(sae, tensor)
            value.copy_(0.2 * normal(*value.shape))
    if variant == "jumprelu":
        sae.get_parameter("threshold").copy_(torch.rand(d_sae, generator=generator) * 0.8)
    elif "threshold" in sae.untrained:
        sae.get_buffer("threshold").fill_(0.6)
    sae.input_scale.fill_(scale)
    if form.centred:
        sae.get_buffer("input_mean").copy_(normal(d_model))
    return sae, normal(ROWS, d_model) * 3 + 1
