"""The language model: load it by name, and capture the activations at its hooks, up to the last one asked for.

TransformerLens names the hooks and defines their values. For the families in fast.py the same values are computed by
the model's own `transformers` code, which may use fused attention; any other model or hook runs in TransformerLens's
TransformerBridge (bridge.py). The path taken is part of the store's provenance.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers.utils import logging as transformers_logging

from harvest.model.base import STANDARD_HOOKS, LoadedModel, ModelFacts, Processing, full_names
from harvest.model.fast import FAMILIES, FastModel
from harvest.model.weights import load_transformers

transformers_logging.disable_progress_bar()  # one bar at a time: ours
transformers_logging.set_verbosity_error()  # harvest/model/weights.py says what is wrong with weights


def load(
    facts: ModelFacts, hooks: Sequence[str], layers: Sequence[int], *, processing: Processing, device: torch.device,
    compiled: bool = False,
) -> LoadedModel:  # fmt: skip
    """Load the weights in float32.

    Only fast.py's models are compiled. Raises InputError where a hook does not exist, with the names that come close.
    """
    model = load_transformers(facts, attention="sdpa")
    base = model.base_model
    if type(base).__name__ in FAMILIES and set(hooks) <= set(STANDARD_HOOKS):
        names = full_names(hooks, layers)
        return FastModel(base, names, facts.d_model, processing=processing, device=device, compiled=compiled)
    from harvest.model.bridge import BridgeModel  # TransformerLens is slow to import: only where it is needed

    if getattr(model.config, "_attn_implementation", None) != "eager":
        model = load_transformers(facts, attention="eager")  # TransformerLens computes with attention patterns
    return BridgeModel(model, facts, hooks, layers, processing=processing, device=device)
