"""Plain tensors and what they mean: sae.safetensors and sae.json, for SAEBench and for any other reader.

    π = W_enc (x − b_dec) + b_enc, or of x if subtracts_bias is false;   x̂ = c W_dec + b_dec

c by `activation`:
    relu      ReLU(π)                        tanh    tanh(ReLU(π))
    topk      the k largest ReLU(π)          gated   (π + b_gate > 0) · ReLU(exp(r_mag) π + b_mag), without b_enc
    jumprelu  π where π > threshold
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from train.interchange.files import Files, float32, json_bytes, module_bytes, safetensors_bytes
from train.interchange.origin import Origin
from train.interchange.portable import PortableSAE

SAEBENCH_MODULE = "saebench_sae.py"


def plain_files(sae: PortableSAE, origin: Origin) -> Files:
    """Return the folder of one SAE: W_enc [d_model, d_sae], W_dec [d_sae, d_model], and what else it has."""
    sae = sae.with_thresholds().with_equal_contributions()
    tensors: dict[str, Tensor] = {
        "W_enc": sae.W_enc.T, "W_dec": sae.W_dec, "b_enc": sae.b_enc, "b_dec": sae.b_dec
    }  # fmt: skip
    if sae.gate is not None:
        tensors |= vars(sae.gate)
    if sae.threshold is not None:
        tensors["threshold"] = sae.threshold
    config: dict[str, Any] = {
        "activation": sae.activation,
        "d_in": sae.d_model,
        "d_sae": sae.d_sae,
        "k": sae.k,
        "subtracts_bias": sae.subtracts_bias,
        "rows": sae.rows,
        **origin.to_json(),
    }
    return {"sae.json": json_bytes(config), "sae.safetensors": safetensors_bytes(float32(tensors))}


def saebench_files(sae: PortableSAE, origin: Origin) -> Files:
    """Return the same folder, and a module whose `load_sae` returns a subclass of SAEBench's BaseSAE.

    SAEBench asks for decoder rows of norm 1, so norms are folded into the encoder; of a TopK SAE their mean, because
    another factor per feature would change which are the k largest. NSAE's features have no other scale.
    """
    sae = sae.with_thresholds().with_equal_contributions()
    if sae.activation == "topk":
        sae = sae.with_unit_rows(torch.linalg.vector_norm(sae.W_dec, dim=1).mean().expand(sae.d_sae))
    elif sae.activation != "tanh":
        sae = sae.with_unit_rows()
    return {**plain_files(sae, origin), SAEBENCH_MODULE: module_bytes(SAEBENCH_MODULE)}
