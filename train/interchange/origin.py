"""The origin of an exported SAE, as the formats' metadata name it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data.hooks import layer_of
from train.sae import SAE


@dataclass(frozen=True)
class Origin:
    """The data that an SAE was trained on; None or "" where that is not recorded.

    hook: in TransformerLens's notation. model: name of the language model. model_revision: its commit.
    processing: how the model's weights were processed, such as "centred" (data/FORMAT.md).
    context_size: tokens per context. prefix_token: id of the token before each context; None: none.
    dataset: name of the text. variant, run: the architecture and the run here.
    trained_rows: rows that the weights were trained on.
    """

    hook: str
    model: str | None = None
    model_revision: str | None = None
    processing: str | None = None
    context_size: int | None = None
    prefix_token: int | None = None
    dataset: str | None = None
    store: str = ""
    variant: str = ""
    run: str = ""
    trained_rows: int | None = None

    @property
    def layer(self) -> int | None:
        return layer_of(self.hook)

    def to_json(self) -> dict[str, Any]:
        """Return all of it with the layer."""
        return {**vars(self), "layer": self.layer}


def origin_of(sae: SAE) -> Origin:
    """Return the origin of a loaded SAE, as far as its files record it."""
    source = sae.source
    if source is None:
        return Origin(hook="", variant=sae.variant)
    if source.settings is None:
        return Origin(hook=source.hook, model=source.model, store=source.store, variant=sae.variant, run=source.run)
    model, tokens, settings = (_object(source.settings.provenance, name) for name in ("model", "tokens", "settings"))
    return Origin(
        hook=source.hook,
        model=source.model,
        model_revision=_typed(model.get("revision"), str),
        processing=_typed(model.get("processing"), str),
        context_size=_typed(tokens.get("context_size", settings.get("context_size")), int),
        prefix_token=_typed(tokens.get("prefix_token"), int),
        dataset=_typed(tokens.get("dataset"), str),
        store=source.store,
        variant=sae.variant,
        run=source.run,
        trained_rows=source.rows,
    )


def _object(provenance: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = provenance.get(name)
    return value if isinstance(value, Mapping) else {}


def _typed(value: Any, kind: type[Any]) -> Any:
    return value if type(value) is kind else None
