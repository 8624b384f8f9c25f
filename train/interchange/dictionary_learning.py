"""dictionary_learning: ae.pt and config.json, as `load_dictionary` reads them.

The loader of AutoEncoder divides the decoder's rows by their norms, so these are folded into the encoder before, and
GatedAutoEncoder's too. AutoEncoderNew is the ReLU SAE whose encoder sees x itself. JumpReLU's sees x, too, so W_enc
b_dec moves into b_enc.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from data.errors import InputError
from train.interchange.files import Files, float32, json_bytes, torch_bytes
from train.interchange.origin import Origin
from train.interchange.portable import PortableSAE


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
