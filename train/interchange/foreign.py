"""An SAE of another library in the tensors of this project's architectures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data.errors import InputError
from train.architectures import architecture_of
from train.interchange.origin import Origin
from train.normalisation.scales import InputScale, input_form
from train.sae import SAE


@dataclass(frozen=True)
class ForeignSAE:
    """A single SAE that was read from another library's file.

    format: the library. path: the file or folder.
    variant, settings: the architecture here that computes the same, and those of its settings that matter for it.
    tensors: its tensors by our names and shapes, such as W_enc [d_sae, d_model]; without the scale of the inputs.
    input_scale: how it normalises its inputs (train/normalisation/scales.py).
    scale: what its inputs are divided by, beside each row's own norm; None: what `input_scale` says of the store.
    origin: what it was trained on, as far as its file says.
    notes: sentences for the user.
    """

    format: str
    path: Path
    variant: str
    tensors: dict[str, Tensor]
    settings: dict[str, Any] = field(default_factory=dict)
    input_scale: InputScale = "none"
    scale: float | None = 1.0
    origin: Origin = field(default_factory=Origin)
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Return d_sae and d_model."""
        d_sae, d_model = self.tensors["W_enc"].shape
        return d_sae, d_model

    def sae(self, scale: float | None = None) -> SAE:
        """Return it as an SAE of ours; scale: what its inputs are divided by, instead of its own."""
        architecture = architecture_of(self.variant)
        d_sae, d_model = self.shape
        settings: Any = architecture.Settings(**self.settings)
        sae = architecture(
            d_model=d_model, d_sae=d_sae, settings=settings, input_form=input_form(self.input_scale, "none")
        )
        chosen = self.scale if scale is None else scale
        assert chosen is not None
        noise_scale = {name: torch.tensor(float(settings.sigma)) for name in ("sigma",) if name in sae.untrained}
        sae.load_state_dict({**sae.tensors(), **noise_scale, **self.tensors, "input_scale": torch.tensor(chosen)})
        return sae.eval()


def tensor(tensors: dict[str, Tensor], name: str, shape: tuple[int | None, ...], path: Path) -> Tensor:
    """Return a tensor as finite float32. Raises InputError if it is missing, or has another shape; None: any length."""
    if name not in tensors:
        raise InputError(f"{path}: has no tensor {name}")
    value = tensors[name]
    fits = value.dim() == len(shape) and all(n in (None, size) for n, size in zip(shape, value.shape, strict=True))
    if not fits or not value.numel():
        wanted = ["any" if n is None else n for n in shape]
        raise InputError(f"{path}: its tensor {name} has the shape {list(value.shape)[:9]}, not {wanted}")
    value = value.to(torch.float32, copy=True).contiguous()
    if not bool(value.isfinite().all()) and name != "threshold":
        raise InputError(f"{path}: its tensor {name} has entries that are not finite")
    return value


def own_tensors(tensors: dict[str, Tensor], variant: str, d_sae: int, path: Path) -> dict[str, Tensor]:
    """Return the tensors [d_sae] that SAEs of a variant have beside their maps and biases. Raises InputError."""
    names = {"gated": ("b_gate", "b_mag", "r_mag"), "jumprelu": ("threshold",)}.get(variant, ())
    return {name: tensor(tensors, name, (d_sae,), path) for name in names}


def unsaid_settings(variant: str, name: str, *, subtracts: bool, key: str, path: Path) -> dict[str, Any]:
    """Return the settings that follow from the variant, and from whether the inputs are centred by b_dec (`subtracts`).

    name, key: the file's names of the architecture and of `subtracts`. Raises InputError if that cannot be set here.
    """
    if variant in ("relu", "jumprelu"):
        return {"subtract_bias": subtracts}
    if not subtracts:
        raise InputError(f"{path}: {key} is false, which {name} has no counterpart of here")
    # NSAE is measured without noise, of which its files do not tell.
    return {"sigma": 0.0} if variant == "nsae" else {}


def active_features(k: int, d_sae: int, path: Path) -> int:
    """Return the number of active features per row. Raises InputError if it is impossible."""
    if not 0 < k <= d_sae:
        raise InputError(f"{path}: its k is not from 1 to its {d_sae} features")
    return k


def linear_maps(
    tensors: dict[str, Tensor], path: Path, *, encoder: str, decoder: str, b_dec: str, b_enc: str | None = None,
    transposed: bool = False,
) -> dict[str, Tensor]:  # fmt: skip
    """Return W_enc, W_dec, b_dec and b_enc by our names, from the names that a format has for them.

    The encoder is [d_model, d_sae] in the file and the decoder [d_sae, d_model]; both the other way round if
    `transposed`, as the weights of PyTorch's Linear are.
    """
    W_enc = tensor(tensors, encoder, (None, None), path)
    d_sae, d_model = W_enc.shape if transposed else W_enc.shape[::-1]
    W_dec = tensor(tensors, decoder, (d_model, d_sae) if transposed else (d_sae, d_model), path)
    maps = {
        "W_enc": W_enc if transposed else W_enc.T.contiguous(),
        "W_dec": W_dec.T.contiguous() if transposed else W_dec,
        "b_dec": tensor(tensors, b_dec, (d_model,), path),
    }
    return maps if b_enc is None else {**maps, "b_enc": tensor(tensors, b_enc, (d_sae,), path)}
