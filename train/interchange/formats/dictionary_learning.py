"""dictionary_learning: ae.pt and config.json, as `load_dictionary` reads them; ae.pt is read without unpickling it.

The loader of AutoEncoder divides the decoder's rows by their norms, so these are folded into the encoder before, and
GatedAutoEncoder's too. AutoEncoderNew is the ReLU SAE whose encoder sees x itself. JumpReLU's sees x, too, so W_enc
b_dec moves into b_enc.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data.errors import InputError
from data.system.reading import read_json
from train.interchange.files import Files, float32, json_bytes, torch_bytes
from train.interchange.foreign import ForeignSAE, linear_maps, tensor
from train.interchange.origin import Origin, file_origin
from train.interchange.portable import PortableSAE
from train.interchange.reading.array_files import entry
from train.interchange.reading.torch_archive import read_torch


def dictionary_learning_files(sae: PortableSAE, origin: Origin) -> Files:
    """Return the folder of one SAE. Raises InputError if the library has no such SAE."""
    if sae.activation == "tanh":
        raise InputError(
            "--to dictionary-learning: has no features with tanh, and NSAE cannot be written without it; give --to "
            "saelens, saebench or safetensors"
        )
    if sae.rows != "none":
        raise InputError(
            "--to dictionary-learning: each row of the SAE's inputs is divided by a norm of its own, which the library "
            "does not do; give --to saelens, saebench or safetensors"
        )
    name, tensors, numbers = _converted(sae)
    trainer: dict[str, Any] = {
        "dict_class": name,
        "activation_dim": sae.d_model,
        "dict_size": sae.d_sae,
        "layer": origin.layer,
        "lm_name": origin.model,
        "submodule_name": origin.hook,
        "exported_from": origin.to_json(),
    }
    if sae.k is not None:
        trainer["k"] = sae.k
    config = {"trainer": trainer, "buffer": {"ctx_len": origin.context_size, "d_submodule": sae.d_model}}
    return {"ae.pt": torch_bytes({**float32(tensors), **numbers}), "config.json": json_bytes(config)}


def _converted(sae: PortableSAE) -> tuple[str, dict[str, Tensor], dict[str, Tensor]]:
    """Return the name of the class, its tensors, and its whole numbers."""
    if sae.activation == "jumprelu":
        sae = sae.with_bias_subtracted(False)
        assert sae.threshold is not None
        threshold = sae.threshold.clamp(min=0)
        return "JumpReluAutoEncoder", {**_matrices(sae), "threshold": threshold}, {}
    if sae.activation == "relu" and not sae.subtracts_bias:
        return "AutoEncoderNew", {**_linear(sae), "encoder.bias": sae.b_enc, "decoder.bias": sae.b_dec}, {}
    if sae.activation in ("topk", "batchtopk"):
        sae = sae.with_equal_contributions()
        threshold = torch.tensor(-1.0) if sae.threshold is None else sae.threshold
        numbers = {"k": torch.tensor(sae.k, dtype=torch.int)}
        if sae.prefixes:
            sizes = torch.tensor(sae.prefixes).diff(prepend=torch.tensor([0]))
            tensors = {**_matrices(sae), "threshold": threshold}
            return "MatryoshkaBatchTopKSAE", tensors, {**numbers, "group_sizes": sizes}
        tensors = {**_linear(sae), "encoder.bias": sae.b_enc, "b_dec": sae.b_dec, "threshold": threshold}
        return "AutoEncoderTopK" if sae.activation == "topk" else "BatchTopKSAE", tensors, numbers
    sae = sae.with_unit_rows()
    if sae.gate is not None:
        gate = {"r_mag": sae.gate.r_mag, "gate_bias": sae.gate.b_gate, "mag_bias": sae.gate.b_mag}
        return "GatedAutoEncoder", {**_linear(sae), **gate, "decoder_bias": sae.b_dec}, {}
    return "AutoEncoder", {**_linear(sae), "encoder.bias": sae.b_enc, "bias": sae.b_dec}, {}


def _linear(sae: PortableSAE) -> dict[str, Tensor]:
    return {"encoder.weight": sae.W_enc, "decoder.weight": sae.W_dec.T}


def _matrices(sae: PortableSAE) -> dict[str, Tensor]:
    return {"W_enc": sae.W_enc.T, "b_enc": sae.b_enc, "W_dec": sae.W_dec, "b_dec": sae.b_dec}


LINEAR = {"encoder": "encoder.weight", "decoder": "decoder.weight", "transposed": True}
MATRICES = {"encoder": "W_enc", "decoder": "W_dec", "b_dec": "b_dec", "b_enc": "b_enc"}
# class → our variant, and the names that its tensors have
CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "AutoEncoder": ("relu", {**LINEAR, "b_enc": "encoder.bias", "b_dec": "bias"}),
    "AutoEncoderNew": ("relu", {**LINEAR, "b_enc": "encoder.bias", "b_dec": "decoder.bias"}),
    "GatedAutoEncoder": ("gated", {**LINEAR, "b_dec": "decoder_bias"}),
    "AutoEncoderTopK": ("topk", {**LINEAR, "b_enc": "encoder.bias", "b_dec": "b_dec"}),
    "BatchTopKSAE": ("batchtopk", {**LINEAR, "b_enc": "encoder.bias", "b_dec": "b_dec"}),
    "JumpReluAutoEncoder": ("jumprelu", MATRICES),
    "MatryoshkaBatchTopKSAE": ("matryoshka", MATRICES),
}


def read_dictionary_learning(folder: Path) -> ForeignSAE:
    """Return the SAE of a folder. Raises InputError."""
    path, weights = folder / "config.json", folder / "ae.pt"
    config = read_json(path)
    trainer = entry(config, "trainer", dict, path)
    name = entry(trainer, "dict_class", str, path)
    if name not in CLASSES:
        raise InputError(f"{path}: the class {name[:80]!r} has no counterpart here; {', '.join(CLASSES)} have one")
    variant, names = CLASSES[name]
    saved = {key: value for key, value in read_torch(weights).items() if isinstance(value, Tensor)}
    tensors = linear_maps(saved, weights, **names)
    d_sae, _ = tensors["W_enc"].shape
    settings: dict[str, Any] = {}
    if variant == "relu":
        settings = {"subtract_bias": name == "AutoEncoder"}
    elif variant == "gated":
        gate_names = {"b_gate": "gate_bias", "b_mag": "mag_bias", "r_mag": "r_mag"}
        tensors |= {ours: tensor(saved, theirs, (d_sae,), weights) for ours, theirs in gate_names.items()}
    elif variant == "jumprelu":
        tensors["threshold"] = tensor(saved, "threshold", (d_sae,), weights).clamp(min=0)
        settings = {"subtract_bias": False}
    else:
        k = saved["k"] if "k" in saved else torch.tensor(entry(trainer, "k", int, path))
        settings = {"k": int(k.reshape(-1)[0]) if k.numel() == 1 else 0}
        if not 0 < settings["k"] <= d_sae:
            raise InputError(f"{weights}: its k is not from 1 to its {d_sae} features")
        if variant != "topk":
            tensors["threshold"] = tensor(saved, "threshold", (), weights)
        if variant == "matryoshka":
            sizes = tensor(saved, "group_sizes", (None,), weights).long().tolist()
            if min(sizes) < 1 or sum(sizes) != d_sae:
                raise InputError(f"{weights}: its group_sizes do not add up to its {d_sae} features")
            settings["prefixes"] = "+".join(f"{size}/{d_sae}" for size in sizes)
    return ForeignSAE(
        format="dictionary-learning",
        path=folder,
        variant=variant,
        tensors=tensors,
        settings=settings,
        origin=_origin(trainer, config.get("buffer")),
    )


def _origin(trainer: dict[str, Any], buffer: Any) -> Origin:
    """Return what config.json says of an SAE's training."""
    size = buffer.get("ctx_len") if isinstance(buffer, dict) else None
    return file_origin(
        trainer,
        hook=_hook(trainer),
        model=trainer["lm_name"] if isinstance(trainer.get("lm_name"), str) else None,
        context_size=size if type(size) is int else None,
    )


def _hook(trainer: dict[str, Any]) -> str | None:
    """Return the hook, if `submodule_name` is one: most trainers record a layer, and a name of their own."""
    name, layer = trainer.get("submodule_name"), trainer.get("layer")
    if not isinstance(name, str):
        return None
    if name.startswith("blocks."):
        return name
    kinds = {"resid_post": "hook_resid_post", "mlp_out": "hook_mlp_out", "attn_out": "hook_attn_out"}
    kind = next((hook for end, hook in kinds.items() if name.startswith(end)), None)
    return f"blocks.{layer}.{kind}" if kind and type(layer) is int else None
