"""The whole language model, clean or with one hook's activation replaced.

The clean pass stores every block's output, and a patched pass starts behind the patched hook, because everything before
it is unchanged. This holds for the families of harvest/model/fast.py and the hooks mlp_out, resid_post and resid_pre.
TransformerLens runs every other model or hook, from the tokens each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from data.errors import InputError
from data.hooks import layer_of
from data.store.reader import Store
from harvest.model.base import ModelFacts, Processing
from harvest.model.fast import FAMILIES, FastModel
from harvest.model.find import find_model
from harvest.model.weights import load_transformers, model_fingerprint

RESUMABLE = ("mlp_out", "resid_post", "resid_pre")


class PatchableModel(Protocol):
    """A language model whose hooks' activations can be replaced, one at a time."""

    def clean(self, tokens: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Run tokens int64 [batch, context]; return logits [batch, context, vocabulary] and each hook's activation."""

    def patched(self, name: str, value: Tensor) -> Tensor:
        """Return the logits of the tokens of the last `clean`, with the activation [batch, context, d] replaced."""


def load_patchable(
    facts: ModelFacts, names: Sequence[str], *, processing: Processing, device: torch.device
) -> PatchableModel:
    """Load a model for patching at hooks of these full names, with a store's `processing`."""
    model = load_transformers(facts, attention="sdpa")
    kinds = {name.rsplit(".hook_", 1)[-1] for name in names}
    if type(model.base_model).__name__ in FAMILIES and kinds <= set(RESUMABLE):
        return ResumedModel(model, names, facts, processing=processing, device=device)
    return ReplayedModel(facts, names, processing=processing, device=device)


def load_for_store(store: Store, names: Sequence[str], *, model: str | None, device: torch.device) -> PatchableModel:
    """Load the model that a store was harvested with, for patching.

    model: as given to `harvest --model`; None takes the name recorded in the store.

    Raises InputError if it cannot be loaded, or its weights differ from those that the store records.
    """
    facts = model_of_store(store, model)
    check_model(store, facts)
    return load_patchable(facts, names, processing=store.provenance["model"]["processing"], device=device)


def model_of_store(store: Store, model: str | None) -> ModelFacts:
    """Return a store's model without its weights. Raises InputError if it is missing or another model."""
    recorded = store.provenance["model"]
    if not store.harvested:
        unknown = f" (unknown: {', '.join(store.unknown).replace('_', ' ')})" if store.unknown else ""
        raise InputError(
            f"--store {store.path}: was not harvested from a language model{unknown}, so none can be run on it; "
            "`analyze report` and `features` take --without-model"
        )
    try:
        facts = find_model(model or recorded["name"], recorded["revision"] if model is None else None)
    except InputError as error:
        remedy = "" if model else "; this is the name in the store: give --model, as it was given to harvest"
        raise InputError(f"{error}{remedy}") from error
    for name, value, expected in (
        ("layers", facts.n_layers, recorded["n_layers"]), ("d_model", facts.d_model, recorded["d_model"]),
    ):  # fmt: skip
        if value != expected:
            raise InputError(f"{_another(store, facts)} ({name}: {value} instead of {expected}); give that one")
    return facts


def check_model(store: Store, facts: ModelFacts) -> None:
    """Raise InputError if a model's weights or configuration differ from those that the store records."""
    recorded, fingerprint = store.provenance["model"]["sha256"], model_fingerprint(facts)
    if fingerprint != recorded:
        raise InputError(
            f"{_another(store, facts)} (weights or configuration: {fingerprint[:12]} instead of {recorded[:12]}); "
            "give that one"
        )


def _another(store: Store, facts: ModelFacts) -> str:
    return f"--model {facts.label}: is not the model that {store.path} was harvested with"


class ResumedModel:
    """A model whose patched passes start behind the patched hook. It changes the model that it is given."""

    def __init__(
        self, model: Any, names: Sequence[str], facts: ModelFacts, *, processing: Processing, device: torch.device
    ) -> None:
        whole = [f"blocks.{layer}.hook_resid_post" for layer in range(facts.n_layers)]
        family, base = FAMILIES[type(model.base_model).__name__], model.base_model
        norm, head = getattr(base, family.final_norm), model.get_output_embeddings()
        if processing == "centred":  # tied weights: only the embedding is centred
            head.weight = nn.Parameter(head.weight.clone(), requires_grad=False)
        self._fast = FastModel(
            base, [*dict.fromkeys([*names, *whole])], facts.d_model, processing=processing, device=device
        )
        setattr(base, family.final_norm, norm)
        self._model, self._names, self._whole = model.to(device), list(names), whole
        self._base, self._attribute = base, family.blocks
        self._blocks = cast(nn.ModuleList, getattr(base, family.blocks))
        self._tokens = torch.empty(0, dtype=torch.int64)
        self._seen: dict[str, Tensor] = {}

    @torch.inference_mode()
    def clean(self, tokens: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        self._tokens = tokens
        self._seen = {}
        logits = self._fast.with_hooks(lambda: self._logits(tokens), self._seen.__setitem__)
        return logits, {name: self._seen[name] for name in self._names}

    @torch.inference_mode()
    def patched(self, name: str, value: Tensor) -> Tensor:
        layer = cast(int, layer_of(name))
        kind = name.rsplit(".hook_", 1)[1]
        if kind == "resid_pre":
            return self._from(layer, value)
        if kind == "mlp_out":  # it is the last term that a block adds to the residual stream
            value = self._seen[self._whole[layer]] - self._seen[name] + value
        return self._from(layer + 1, value)

    def _from(self, layer: int, residual: Tensor) -> Tensor:
        """Return the logits for a given residual stream before a block, without running the blocks before it."""
        entry = _Entered(residual, _Skipped() if layer else self._blocks[0])
        blocks = [*(_Skipped() for _ in range(layer - 1)), entry, *self._blocks[max(layer, 1) :]]
        setattr(self._base, self._attribute, nn.ModuleList(blocks))
        try:
            return self._logits(self._tokens)
        finally:
            setattr(self._base, self._attribute, self._blocks)

    def _logits(self, tokens: Tensor) -> Tensor:
        return cast(Tensor, self._model(input_ids=tokens, use_cache=False).logits)


class _Skipped(nn.Module):
    """Takes a block's place in the model's loop over blocks, and does nothing."""

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return hidden_states


class _Entered(nn.Module):
    """A block that ignores its input and runs on a given one."""

    def __init__(self, value: Tensor, block: nn.Module) -> None:
        super().__init__()
        self._value, self._block = value, block

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return cast(Tensor, self._block(self._value, *args, **kwargs))


class ReplayedModel:
    """A model that TransformerLens runs from the tokens in every pass."""

    def __init__(
        self, facts: ModelFacts, names: Sequence[str], *, processing: Processing, device: torch.device
    ) -> None:
        from harvest.model.bridge import BridgeModel  # deferred: TransformerLens is slow to import

        layers = sorted({layer for name in names if (layer := layer_of(name)) is not None})
        model = load_transformers(facts, attention="eager")
        self._bridge = BridgeModel(model, facts, names, layers, processing=processing, device=device).bridge
        self._names = list(names)
        self._tokens = torch.empty(0, dtype=torch.int64)

    @torch.inference_mode()
    def clean(self, tokens: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        self._tokens = tokens
        seen: dict[str, Tensor] = {}

        def take(name: str, value: Tensor, hook: Any) -> None:
            seen[name] = value.flatten(start_dim=2).clone()

        logits = self._bridge.run_with_hooks(tokens, fwd_hooks=[(name, partial(take, name)) for name in self._names])
        return logits, seen

    @torch.inference_mode()
    def patched(self, name: str, value: Tensor) -> Tensor:
        if name not in self._names:
            raise InputError(f"{name} is not one of the hooks that this model was loaded for")

        def put(old: Tensor, hook: Any) -> Tensor:
            return value.reshape(old.shape)

        return cast(Tensor, self._bridge.run_with_hooks(self._tokens, fwd_hooks=[(name, put)]))
