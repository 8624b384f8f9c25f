"""sparsify: cfg.json and sae.safetensors, as `SparseCoder.load_from_disk` reads and writes them; TopK SAEs alone."""

from __future__ import annotations

from pathlib import Path

from data.errors import InputError
from data.system.reading import read_json
from train.interchange.files import Files, float32, json_bytes, safetensors_bytes
from train.interchange.foreign import ForeignSAE, active_features, tensor
from train.interchange.origin import Origin, file_origin
from train.interchange.portable import PortableSAE
from train.interchange.reading.array_files import entry, read_safetensors


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


def read_sparsify(folder: Path) -> ForeignSAE:
    """Return the SAE of a folder; W_dec is stored as [d_sae, d_model]. Raises InputError."""
    path, weights = folder / "cfg.json", folder / "sae.safetensors"
    config = read_json(path)
    activation = entry(config, "activation", str, path, "topk")
    if activation != "topk":
        raise InputError(f"{path}: the activation {activation[:80]!r} has no counterpart here")
    for name in ("transcode", "skip_connection"):
        if entry(config, name, bool, path, False):
            raise InputError(f"{path}: {name} is true, so it is no SAE of one hook")
    saved = read_safetensors(weights)
    encoder = tensor(saved, "encoder.weight", (None, None), weights)
    d_sae, d_model = encoder.shape
    k = active_features(entry(config, "k", int, path), d_sae, path)
    tensors = {
        "W_enc": encoder,
        "b_enc": tensor(saved, "encoder.bias", (d_sae,), weights),
        "W_dec": tensor(saved, "W_dec", (d_sae, d_model), weights),
        "b_dec": tensor(saved, "b_dec", (d_model,), weights),
    }
    hook = config.get("hookpoint")
    return ForeignSAE(
        format="sparsify",
        path=folder,
        variant="topk",
        tensors=tensors,
        settings={"k": k},
        origin=file_origin(config, hook=hook if isinstance(hook, str) and hook else None),
    )
