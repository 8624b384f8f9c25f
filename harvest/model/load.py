"""Load a language model for capturing activations, by the fast path if its family and hooks allow it.

TransformerLens defines the hooks' names and values. The model families of fast.py compute the same values with their
own `transformers` code; every other model or hook runs in TransformerLens's TransformerBridge (bridge.py). The store's
provenance records the path.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from harvest.model.base import STANDARD_HOOKS, LoadedModel, ModelFacts, Processing, full_names
from harvest.model.fast import FAMILIES, FastModel
from harvest.model.weights import load_transformers


def load(
    facts: ModelFacts, hooks: Sequence[str], layers: Sequence[int], *, processing: Processing, device: torch.device,
    compiled: bool = False,
) -> LoadedModel:  # fmt: skip
    """Load a model in float32 that captures `hooks` in `layers`; `compiled` has an effect on the fast path only.

    Raises InputError if the weights cannot be loaded or a hook does not exist.
    """
    model = load_transformers(facts, attention="sdpa")
    base = model.base_model
    if type(base).__name__ in FAMILIES and set(hooks) <= set(STANDARD_HOOKS):
        names = full_names(hooks, layers)
        return FastModel(base, names, facts.d_model, processing=processing, device=device, compiled=compiled)
    from harvest.model.bridge import BridgeModel  # deferred: TransformerLens is slow to import

    if getattr(model.config, "_attn_implementation", None) != "eager":
        model = load_transformers(facts, attention="eager")  # TransformerLens exposes attention patterns
    return BridgeModel(model, facts, hooks, layers, processing=processing, device=device)
