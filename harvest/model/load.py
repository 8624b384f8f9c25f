"""Load a language model for capturing activations, by the fast path if its family and hooks allow it.

TransformerLens defines the hooks' names and values. The model families of fast.py compute the same values with their
own `transformers` code; every other model or hook runs in TransformerLens's TransformerBridge (bridge.py). The store's
provenance records the path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from harvest.model.base import LoadedModel, ModelFacts, Processing, full_names
from harvest.model.device_map import DeviceMap, blocks_by_device
from harvest.model.fast import FastModel, takes
from harvest.model.weights import load_transformers


def load(
    facts: ModelFacts, hooks: Sequence[str], layers: Sequence[int], *, processing: Processing, device: torch.device,
    compiled: bool = False, device_map: DeviceMap | None = None, note: Callable[[str], None] = lambda text: None,
) -> LoadedModel:  # fmt: skip
    """Load a model in float32 that captures `hooks` in `layers`; `compiled` has an effect on the fast path only.

    device_map: spreads the model over several devices; it must have been checked. note: told where the blocks are.

    Raises InputError if the weights cannot be loaded or a hook does not exist.
    """
    if device_map is not None:
        model = load_transformers(
            facts, attention="sdpa", n_blocks=max(layers) + 1, placement=device_map.placement(device)
        )
        note(f"blocks of the model: {blocks_by_device(model)}")
        return FastModel(
            model.base_model, full_names(hooks, layers), facts.d_model, processing=processing, device=device,
            spread=True,
        )  # fmt: skip
    model = load_transformers(facts, attention="sdpa")
    base = model.base_model
    if takes(type(base).__name__, hooks):
        names = full_names(hooks, layers)
        return FastModel(base, names, facts.d_model, processing=processing, device=device, compiled=compiled)
    from harvest.model.bridge import BridgeModel  # deferred: TransformerLens is slow to import

    if getattr(model.config, "_attn_implementation", None) != "eager":
        model = load_transformers(facts, attention="eager")  # TransformerLens exposes attention patterns
    return BridgeModel(model, facts, hooks, layers, processing=processing, device=device)
