"""The origin of an SAE, as the formats' metadata name it; of an imported one, as its files say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args, get_type_hints

from data.hooks import layer_of
from train.output.settings import RunSettings
from train.sae import SAE


@dataclass(frozen=True)
class Origin:
    """The data that an SAE was trained on; None or "" where that is not recorded.

    hook: in TransformerLens's notation. model: name of the language model. model_revision: its commit.
    processing: how the model's weights were processed, such as "centred" (data/FORMAT.md).
    context_size: tokens per context. skip_positions: number of first positions that were left out.
    prefixed: whether a token stood before each context. prefix_token: its id.
    dataset: name of the text. store: fingerprint of the store. variant, run: the architecture and the run here.
    trained_rows: rows that the weights were trained on. planned_rows: rows of the whole training.
    imported_from: the format that it was imported from.
    """

    hook: str = ""
    model: str | None = None
    model_revision: str | None = None
    processing: str | None = None
    context_size: int | None = None
    skip_positions: int | None = None
    prefixed: bool | None = None
    prefix_token: int | None = None
    dataset: str | None = None
    store: str = ""
    variant: str = ""
    run: str = ""
    trained_rows: int | None = None
    planned_rows: int | None = None
    imported_from: str | None = None

    @property
    def layer(self) -> int | None:
        return layer_of(self.hook)

    def unfinished(self) -> str | None:
        """Return a sentence if the weights are those of a training that had not ended; None if not, or if unknown."""
        if self.trained_rows is None or self.planned_rows is None or self.trained_rows >= self.planned_rows:
            return None
        return f"its training had not ended; it was trained on {self.trained_rows:,} of {self.planned_rows:,} rows"

    def to_json(self) -> dict[str, Any]:
        """Return all of it with the layer."""
        return {**vars(self), "layer": self.layer}


def origin_of(sae: SAE) -> Origin:
    """Return the origin of a loaded SAE, as far as its files record it."""
    source = sae.source
    if source is None:
        return Origin(variant=sae.variant)
    if source.settings is None:
        return Origin(hook=source.hook, model=source.model, store=source.store, variant=sae.variant, run=source.run)
    if source.settings.imported is not None:
        origin = imported_origin(source.settings, source.hook)
        return replace(origin, hook=source.hook, variant=origin.variant or sae.variant)
    experiment = source.settings.experiment
    model, tokens, settings = (_object(source.settings.provenance, name) for name in ("model", "tokens", "settings"))
    return Origin(
        hook=source.hook,
        model=source.model,
        model_revision=_typed(model.get("revision"), str),
        processing=_typed(model.get("processing"), str),
        context_size=_typed(tokens.get("context_size", settings.get("context_size")), int),
        skip_positions=_typed(settings.get("skip_positions"), int),
        prefixed=tokens["prefix_token"] is not None if "prefix_token" in tokens else None,
        prefix_token=_typed(tokens.get("prefix_token"), int),
        dataset=_typed(tokens.get("dataset"), str),
        store=source.store,
        variant=sae.variant,
        run=source.run,
        trained_rows=source.rows,
        planned_rows=experiment.n_steps * experiment.batch_size,
    )


def imported_origin(settings: RunSettings, hook: str) -> Origin:
    """Return what the files of an imported SAE said of its training; unknown if they said nothing."""
    origins = (settings.imported or {}).get("origins")
    index = settings.experiment.hooks.index(hook)
    said = origins[index] if isinstance(origins, list) and index < len(origins) else None
    return replace(read_origin(said), imported_from=settings.imported_from)


def read_origin(value: Any) -> Origin:
    """Return the origin that `Origin.to_json` wrote; what is missing or impossible is unknown."""
    known = value if isinstance(value, Mapping) else {}
    kinds = {name: get_args(kind) or (kind,) for name, kind in get_type_hints(Origin).items()}
    origin = Origin(**{name: known[name] for name in kinds if name in known and type(known[name]) in kinds[name]})
    return replace(origin, trained_rows=_count(origin.trained_rows), planned_rows=_count(origin.planned_rows))


def file_origin(about: Mapping[str, Any], **said: Any) -> Origin:
    """Return what a file says of its training: `said` by the format's own fields, else what our export recorded.

    about: the part of the file's metadata that our export extends by `exported_from`. said: None where it says nothing.
    """
    return replace(
        read_origin(about.get("exported_from")), **{name: value for name, value in said.items() if value is not None}
    )


def _count(n: int | None) -> int | None:
    return n if n is not None and 0 < n < 2**62 else None


def _object(provenance: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = provenance.get(name)
    return value if isinstance(value, Mapping) else {}


def _typed(value: Any, kind: type[Any]) -> Any:
    return value if type(value) is kind else None
