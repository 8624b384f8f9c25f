"""SAELens v6: cfg.json and sae_weights.safetensors, as `SAE.load_from_disk` reads them.

BatchTopK and Matryoshka SAEs become jumprelu with their threshold in every feature, as SAELens itself saves them. NSAE
comes with modules/nsae_for_saelens.py, which registers its class. With free decoder rows, TopK compares π‖d‖, so these
norms are folded into the encoder.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from train.interchange.files import Files, float32, json_bytes, module_bytes, safetensors_bytes
from train.interchange.origin import Origin
from train.interchange.portable import PortableSAE

ARCHITECTURE = {"relu": "standard", "tanh": "nsae", "topk": "topk", "jumprelu": "jumprelu", "gated": "gated"}
NORMALISATION = {"none": "none", "norm": "constant_norm_rescale", "deviation": "layer_norm"}
NSAE_MODULE = "nsae_for_saelens.py"
VERSION = "6.0.0"  # of the layout of cfg.json


def saelens_files(sae: PortableSAE, origin: Origin) -> Files:
    """Return the folder of one SAE."""
    sae = sae.with_thresholds().with_equal_contributions()
    tensors: dict[str, Tensor] = {"W_enc": sae.W_enc.T, "W_dec": sae.W_dec, "b_dec": sae.b_dec}
    if sae.gate is not None:
        tensors |= vars(sae.gate)
    else:
        tensors["b_enc"] = sae.b_enc
    if sae.threshold is not None:
        tensors["threshold"] = sae.threshold
    config: dict[str, Any] = {
        "architecture": ARCHITECTURE[sae.activation],
        "d_in": sae.d_model,
        "d_sae": sae.d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": sae.subtracts_bias,
        "normalize_activations": NORMALISATION[sae.rows],
        "reshape_activations": "none",
        "metadata": metadata(origin),
    }
    if sae.activation == "topk":
        config |= {"k": sae.k, "rescale_acts_by_decoder_norm": False}
    files = {"cfg.json": json_bytes(config), "sae_weights.safetensors": safetensors_bytes(float32(tensors))}
    return {**files, NSAE_MODULE: module_bytes(NSAE_MODULE)} if sae.activation == "tanh" else files


def metadata(origin: Origin) -> dict[str, Any]:
    """Return what SAELens keeps of an SAE's training.

    `prepend_bos` is whether a token stands before each context; SAELens's is the tokenizer's BOS token.
    """
    return {
        "sae_lens_version": VERSION,
        "sae_lens_training_version": None,
        "model_name": origin.model,
        "model_class_name": "HookedTransformer",
        "hook_name": origin.hook,
        "hook_layer": origin.layer,
        "hook_head_index": None,
        "model_from_pretrained_kwargs": {"center_writing_weights": True} if origin.processing == "centred" else {},
        "prepend_bos": origin.prefix_token is not None,
        "prefix_token": origin.prefix_token,
        "context_size": origin.context_size,
        "seqpos_slice": [None],
        "dataset_path": origin.dataset,
        "exported_from": origin.to_json(),
    }
