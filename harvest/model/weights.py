"""A model's weight files: find them, load them completely, and compute their fingerprint."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging
from transformers.utils.hub import cached_file

from data.command.libraries.hub import is_pointer
from data.errors import InputError
from harvest.model.base import HUB_ERRORS, ModelFacts, first_line

transformers_logging.disable_progress_bar()  # the commands show progress of their own
transformers_logging.set_verbosity_error()  # `load_transformers` reports problems with weights

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"

# Configuration entries that do not affect activations.
NEUTRAL = {"_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache"}

# Buffers saved by older versions of transformers: causal masks, rotary frequencies, positions.
OLD_BUFFERS = re.compile(r"(attn|attention)\.(masked_)?bias$|rotary_emb\.inv_freq$|position_ids$")

BLOCK = re.compile(r"(?:^|\.)(?:h|layers)\.([0-9]+)\.")  # a block's number in the name of a weight

SHOWN = 3  # names listed in a message


def load_transformers(
    facts: ModelFacts, attention: str, *, n_blocks: int | None = None, placement: Mapping[str, Any] | None = None
) -> PreTrainedModel:
    """Load a model in float32 for inference, with the `attention` implementation if its architecture has it.

    n_blocks: load only so many blocks, the first ones. placement: arguments of `from_pretrained` that choose devices.

    Raises InputError if loading fails or the files' weights are not exactly those of the architecture.
    """
    weight_files(facts)  # refuses pickled weights with a clear message
    settings: dict[str, Any] = {
        "dtype": torch.float32, "revision": facts.revision, "trust_remote_code": False, "use_safetensors": True,
        "output_loading_info": True, "ignore_mismatched_sizes": True,
        **(placement or {}),
    }  # fmt: skip
    if n_blocks is not None:
        settings["config"] = _first_blocks(facts, n_blocks)
    try:
        try:
            model, info = AutoModelForCausalLM.from_pretrained(facts.name, attn_implementation=attention, **settings)
        except ValueError:  # an architecture without that attention implementation
            model, info = AutoModelForCausalLM.from_pretrained(facts.name, **settings)
    except HUB_ERRORS as error:
        raise InputError(f"--model {facts.label}: its weights cannot be loaded ({first_line(error)})") from error
    _check_complete(facts, info, facts.n_layers if n_blocks is None else n_blocks)
    return model.eval().requires_grad_(False)


def _first_blocks(facts: ModelFacts, n_blocks: int) -> PreTrainedConfig:
    """Return the configuration of the model's first blocks; lists with an entry per block are cut, too."""
    config = AutoConfig.from_pretrained(facts.name, revision=facts.revision, trust_remote_code=False)
    for name, value in vars(config).items():
        if isinstance(value, list) and len(value) == facts.n_layers:
            setattr(config, name, value[:n_blocks])
    config.num_hidden_layers = n_blocks
    return config


def _check_complete(facts: ModelFacts, info: dict[str, Any], n_blocks: int) -> None:
    """Raise InputError if weights are missing, unexpected or of another shape, except those of blocks from n_blocks on.

    info: what `from_pretrained` says about the weights.
    """

    def is_expected(name: str) -> bool:
        block = BLOCK.search(name)
        is_later = block is not None and n_blocks <= int(block[1]) < facts.n_layers
        return is_later or OLD_BUFFERS.search(name) is not None

    kinds = {
        "lack": info["missing_keys"],
        "have, beyond its architecture,": [name for name in info["unexpected_keys"] if not is_expected(name)],
        "have in another shape": [entry[0] for entry in info["mismatched_keys"]],
    }
    faults = [f"{verb} {_listed(names)}" for verb, names in kinds.items() if names]
    if faults:
        raise InputError(
            f"--model {facts.label}: its weights do not fit its architecture: they {'; they '.join(faults)}; save it "
            "again with save_pretrained, from the model itself (no compiled or parallel wrapper)"
        )


def _listed(names: Collection[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(sorted(names)[:SHOWN]) + more


def model_fingerprint(facts: ModelFacts) -> str:
    """Return the SHA-256 of a model's configuration and weight files, reading all their bytes."""
    digest = hashlib.sha256()
    config = json.loads(Path(_file(facts, "config.json") or "").read_bytes())
    kept = {name: value for name, value in config.items() if name not in NEUTRAL}
    digest.update(json.dumps(kept, sort_keys=True).encode())
    for path in weight_files(facts):
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def weight_files(facts: ModelFacts) -> list[Path]:
    """Return a model's safetensors files, downloading those of a hub model that are not in the cache.

    Raises InputError if there are none or one is missing.
    """
    if whole := _file(facts, WEIGHTS):
        return _no_pointers(facts, [whole])
    index = _file(facts, INDEX)
    if index is None:
        raise InputError(
            f"--model {facts.label}: it has no {WEIGHTS}; pickled weights (pytorch_model.bin) are not read, because "
            "they can run code; convert them: load the model with transformers, and save it with save_pretrained"
        )
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"--model {facts.label}: its {INDEX} is damaged; get the file again") from error
    files = {name: _file(facts, name) for name in names}
    if missing := [name for name, path in files.items() if path is None]:
        raise InputError(f"--model {facts.label}: it lacks {_listed(missing)}, which its {INDEX} names")
    return _no_pointers(facts, [path for path in files.values() if path is not None])


def _no_pointers(facts: ModelFacts, files: list[Path]) -> list[Path]:
    """Return the files; raise InputError if one is a Git LFS pointer."""
    for path in files:
        if is_pointer(path):
            raise InputError(
                f"--model {facts.label}: {path.name} is a Git LFS pointer, not the weights; run `git lfs pull` in its "
                "folder"
            )
    return files


def _file(facts: ModelFacts, name: str) -> Path | None:
    """Return the path of a model's file, downloading it if needed; None if the model has no such file."""
    try:
        path = cached_file(facts.name, name, revision=facts.revision, _raise_exceptions_for_missing_entries=False)
    except HUB_ERRORS as error:
        raise InputError(f"--model {facts.label}: {name} cannot be read ({first_line(error)})") from error
    return Path(path) if path else None
