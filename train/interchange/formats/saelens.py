"""SAELens v6: cfg.json and sae_weights.safetensors, as `SAE.load_from_disk` reads and writes them.

BatchTopK and Matryoshka SAEs become jumprelu with their threshold in every feature, as SAELens itself saves them. NSAE
comes with modules/nsae_for_saelens.py, which registers its class. With free decoder rows, TopK compares π‖d‖, so these
norms are folded into the encoder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from data.errors import InputError
from data.system.reading import read_json
from train.interchange.files import Files, float32, json_bytes, module_bytes, safetensors_bytes
from train.interchange.foreign import ForeignSAE, active_features, linear_maps, own_tensors, unsaid_settings
from train.interchange.origin import Origin, file_origin
from train.interchange.portable import PortableSAE
from train.interchange.reading.array_files import entry, read_safetensors
from train.normalisation.scales import InputScale

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

    `prepend_bos` is whether a token stands before each context; SAELens's is the tokenizer's BOS token. SAELens takes
    the positions `slice(*seqpos_slice)` of each context.
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
        "prepend_bos": origin.prefixed,
        "prefix_token": origin.prefix_token,
        "context_size": origin.context_size,
        "seqpos_slice": [origin.skip_positions, None] if origin.skip_positions else [None],
        "dataset_path": origin.dataset,
        "exported_from": origin.to_json(),
    }


VARIANT = {"standard": "relu", "nsae": "nsae", "topk": "topk", "jumprelu": "jumprelu", "gated": "gated"}
READ_NORMALISATION: dict[str, InputScale] = {
    "none": "none", "constant_norm_rescale": "row-sqrt-d", "layer_norm": "layer-norm",
    "expected_average_only_in": "sqrt-d",
}  # fmt: skip


def read_saelens(folder: Path) -> ForeignSAE:
    """Return the SAE of a folder. Raises InputError."""
    path = folder / "cfg.json"
    config = _as_version_6(read_json(path))
    name = entry(config, "architecture", str, path, "standard")
    if name not in VARIANT:
        raise InputError(
            f"{path}: the architecture {name[:80]!r} has no counterpart here; {', '.join(VARIANT)} have one"
        )
    if entry(config, "reshape_activations", str, path, "none") != "none":
        raise InputError(f"{path}: reshapes its activations (hook_z), and a store has rows of one vector")
    normalisation = entry(config, "normalize_activations", str, path, "none")
    if normalisation not in READ_NORMALISATION:
        raise InputError(
            f"{path}: its inputs are normalised by {normalisation[:80]!r}, whose statistics it does not hold"
        )
    metadata = entry(config, "metadata", dict, path, {})
    weights = folder / "sae_weights.safetensors"
    saved = read_safetensors(weights)
    bias = None if name == "gated" else "b_enc"
    tensors = linear_maps(saved, weights, encoder="W_enc", decoder="W_dec", b_dec="b_dec", b_enc=bias)
    if "scaling_factor" in saved and not bool((saved["scaling_factor"] == 1).all()):  # of versions before 6
        raise InputError(f"{weights}: multiplies each feature by a scaling_factor, which has no counterpart here")
    d_sae, d_model = tensors["W_enc"].shape
    variant, key = VARIANT[name], "apply_b_dec_to_input"
    tensors |= own_tensors(saved, variant, d_sae, weights)
    subtracts = entry(config, key, bool, path, True)
    settings = unsaid_settings(variant, name, subtracts=subtracts, key=key, path=path)
    if name == "topk":
        by_norm = entry(config, "rescale_acts_by_decoder_norm", bool, path, False)
        settings = {"k": active_features(entry(config, "k", int, path), d_sae, path), "unit_decoder": not by_norm}
    scale = {"row-sqrt-d": d_model**-0.5, "sqrt-d": None}.get(READ_NORMALISATION[normalisation], 1.0)
    note = "its inputs are scaled to E‖x‖ = √d; the factor is not in its files, so it is taken from the store"
    return ForeignSAE(
        format="saelens",
        path=folder,
        variant=variant,
        tensors=tensors,
        settings=settings,
        input_scale=READ_NORMALISATION[normalisation],
        scale=scale,
        origin=read_metadata({**config, **metadata}),
        notes=(note,) if scale is None else (),
    )


def _as_version_6(config: dict[str, Any]) -> dict[str, Any]:
    """Return a cfg.json with the names of version 6: until then a TopK SAE was a standard one with an activation."""
    activation = config.get("activation_fn_str", config.get("activation_fn"))
    if config.get("architecture", "standard") == "standard" and activation not in (None, "relu"):
        arguments = config.get("activation_fn_kwargs")
        k = arguments.get("k") if isinstance(arguments, dict) else None
        config = {**config, "architecture": activation, "k": k}
    if isinstance(normalised := config.get("normalize_activations"), bool):
        config = {**config, "normalize_activations": "expected_average_only_in" if normalised else "none"}
    return config if "hook_point" not in config else {"hook_name": config["hook_point"], **config}


def read_metadata(metadata: dict[str, Any]) -> Origin:
    """Return what SAELens's metadata, or a cfg.json of before version 6, say of an SAE's training."""
    prefixed, size = metadata.get("prepend_bos"), metadata.get("context_size")
    return file_origin(
        metadata,
        hook=_text(metadata.get("hook_name")),
        model=_text(metadata.get("model_name")),
        prefixed=prefixed if isinstance(prefixed, bool) else None,
        context_size=size if type(size) is int else None,
        skip_positions=_first_position(metadata.get("seqpos_slice")),
        dataset=_text(metadata.get("dataset_path")),
    )


def _first_position(seqpos_slice: Any) -> int | None:
    """Return the first position of a slice that goes on to the end of each context; None for any other."""
    if not isinstance(seqpos_slice, list) or not 1 <= len(seqpos_slice) <= 3:
        return None
    positions = slice(*seqpos_slice)
    first, whole = positions.start or 0, positions.stop is None and positions.step in (None, 1)
    return first if whole and type(first) is int and first >= 0 else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
