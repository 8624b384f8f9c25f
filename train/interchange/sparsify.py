"""sparsify: cfg.json and sae.safetensors, as `SparseCoder.load_from_disk` reads them; TopK SAEs alone."""

from __future__ import annotations

from data.errors import InputError
from train.interchange.files import Files, float32, json_bytes, safetensors_bytes
from train.interchange.origin import Origin
from train.interchange.portable import PortableSAE


def sparsify_files(sae: PortableSAE, origin: Origin) -> Files:
    """Return the folder of one SAE. Raises InputError if it is no TopK SAE."""
    if sae.activation != "topk" or sae.rows != "none":
        what = f"this one is {origin.variant}" if sae.activation != "topk" else "this one normalises each row"
        raise InputError(
            f"--to sparsify: has TopK SAEs of raw activations alone, and {what}; give --to saelens, saebench or "
            "safetensors"
        )
    sae = sae.with_equal_contributions()
    tensors = {"encoder.weight": sae.W_enc, "encoder.bias": sae.b_enc, "W_dec": sae.W_dec, "b_dec": sae.b_dec}
    config = {
        "activation": "topk",
        "expansion_factor": max(1, round(sae.d_sae / sae.d_model)),
        "normalize_decoder": True,
        "num_latents": sae.d_sae,
        "k": sae.k,
        "multi_topk": False,
        "skip_connection": False,
        "transcode": False,
        "d_in": sae.d_model,
        "hookpoint": origin.hook,
        "exported_from": origin.to_json(),
    }
    return {"cfg.json": json_bytes(config), "sae.safetensors": safetensors_bytes(float32(tensors))}
