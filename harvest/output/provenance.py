"""A store's record of its origin: the settings of its harvest, the language model, and the tokens."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harvest.inputs import HarvestInputs
    from harvest.model.base import LanguageModel
    from harvest.packed_dataset import PackedDataset
    from harvest.request import Request

SOFTWARE = ("torch", "transformers", "transformer-lens", "tokenizers", "datasets", "numcodecs", "numpy")

# How messages name the settings that are not options of the command.
WORDS = {
    "model_fingerprint": "the model's content",
    "tokenizer_fingerprint": "the tokenizer",
    "dataset_fingerprint": "the dataset's content",
    "activations_fingerprint": "the activations' content",
    "token_ids_fingerprint": "the token ids' content",
    "documents_fingerprint": "the documents' content",
}


def settings_of(request: Request, inputs: HarvestInputs) -> dict[str, Any]:
    """Return everything that decides a store's bytes, by the options' names in snake_case, as JSON values.

    `inputs` adds the identity of the model, the tokenizer and the dataset. Two harvests with equal settings write equal
    stores, and only then does one continue the other.
    """
    held_out, pretokenized = request.heldout, inputs.source.kind == "tokens"
    return {
        "model": inputs.facts.label,
        "revision": inputs.facts.revision,
        "model_fingerprint": inputs.model_fingerprint,
        "tokenizer_fingerprint": inputs.tokenizer.fingerprint,
        "dataset": inputs.source.label,
        "dataset_config": request.dataset.config,
        "dataset_split": inputs.source.split,
        "dataset_fingerprint": inputs.source.fingerprint,
        "text_column": request.dataset.column,
        "tokens": request.n_tokens,
        "context_size": request.context_size,
        "skip_positions": request.skip_positions,
        "prefix_token": request.prefix,
        "separator_token": None if pretokenized else request.separator or "eos",
        "special_tokens": None if pretokenized else request.special_tokens or "text",
        "held_out": f"{100 * held_out:.12g}%" if isinstance(held_out, float) else held_out,
        "layers": list(request.layers),
        "hook": list(request.hooks),
        "dtype": request.dtype,
        "compress": request.compression,
        "batch_size": request.batch_size,
        "processing": request.processing,
        "precision": request.compute.precision,
        "compile": request.compute.compiling,
        "seed": request.seed,
        "versions": {name: version(name) for name in SOFTWARE},
    }


def provenance_of(
    request: Request, inputs: HarvestInputs, settings: dict[str, Any], packed: PackedDataset, model: LanguageModel,
    relative_error: dict[str, float],
) -> dict[str, Any]:  # fmt: skip
    """Return a store's provenance as JSON values. `relative_error`: each hook's error against float32."""
    facts, source = inputs.facts, inputs.source
    return {
        "settings": settings,
        "model": {
            "name": facts.label, "revision": facts.revision, "sha256": inputs.model_fingerprint,
            "processing": request.processing, "forward_path": model.path, "precision": request.compute.precision,
            "compiled": model.compiled, "relative_error": relative_error,
            "n_layers": facts.n_layers, "d_model": facts.d_model,
        },
        "tokens": {
            "dataset": source.label, "dataset_fingerprint": source.fingerprint, "sha256": packed.tokens_sha256(),
            "tokenizer_sha256": inputs.tokenizer.fingerprint, "separator_token": inputs.tokenizer.separator,
            "special_tokens": settings["special_tokens"], "null_rows": packed.stream.n_null,
            "prefix_token": packed.prefix, "context_size": request.context_size, "n_contexts": packed.n_contexts,
            "text_ended": packed.n_contexts < request.n_contexts,
        },
    }  # fmt: skip


def read_settings(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a store records, with the names of `settings_of`.

    The first stores recorded the words of `differences` as names: `--dtype`, `the installed torch`.
    """
    names = {words: name for name, words in WORDS.items()}
    versions = dict(recorded.get("versions", {}))
    settings: dict[str, Any] = {}
    for name, value in recorded.items():
        if name.startswith("the installed "):
            versions[name.removeprefix("the installed ")] = value
        elif name != "versions":
            settings[names.get(name, name.removeprefix("--").replace("-", "_"))] = value
    return {**settings, "versions": versions} if versions else settings


def differences(recorded: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the settings that differ, named as a message names them: (recorded value, present value)."""
    before, now = _flat(recorded), _flat(settings)
    return {
        _words(name): (before.get(name), now.get(name))
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    }


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    versions = {f"versions.{name}": value for name, value in settings.get("versions", {}).items()}
    return {**{name: value for name, value in settings.items() if name != "versions"}, **versions}


def _words(name: str) -> str:
    if name.startswith("versions."):
        return f"the installed {name.removeprefix('versions.')}"
    return WORDS.get(name) or f"--{name.replace('_', '-')}"
