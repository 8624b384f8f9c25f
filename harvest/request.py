"""What the user asks of a harvest, whether its options go together, and the schema of the store that follows."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from data.choices import Compression, DType
from data.errors import InputError, StoreError
from data.store.encodings import ENCODINGS
from data.store.layout import SHARDS_PER_WINDOW, Layout, choose_rows_per_shard
from data.store.schema import Schema
from harvest.model.base import STANDARD_HOOKS, ModelFacts, Processing, SpecialTokens, full_names
from harvest.model.precision import Compute
from harvest.text.packing import HeldOut, heldout_target
from harvest.text.sources import DatasetChoice

SOFTWARE = ("torch", "transformers", "transformer-lens", "tokenizers", "datasets", "numcodecs", "numpy")


@dataclass(frozen=True)
class Request:
    """What the user asked for: all that decides the bytes of the store."""

    model: str
    revision: str | None
    n_tokens: int
    dataset: DatasetChoice
    layers: tuple[int, ...]
    hooks: tuple[str, ...]
    dtype: DType
    compression: Compression
    context_size: int
    batch_size: int  # contexts
    skip_positions: int
    prefix: str
    separator: str | None  # None: not given
    special_tokens: SpecialTokens | None
    heldout: HeldOut
    processing: Processing
    seed: int
    compute: Compute

    @property
    def n_contexts(self) -> int:
        return self.n_tokens // self.context_size

    def settings(self, facts: ModelFacts) -> dict[str, Any]:
        """The request as the store records it and a resumed harvest compares it, inputs left out: option → value."""
        return {
            "--model": facts.label,
            "--revision": facts.revision,
            "--tokens": self.n_tokens,
            "--dataset-config": self.dataset.config,
            "--text-column": self.dataset.column,
            "--held-out": f"{100 * self.heldout:.12g}%" if isinstance(self.heldout, float) else self.heldout,
            "--layers": list(self.layers),
            "--hook": list(self.hooks),
            "--dtype": self.dtype,
            "--compress": self.compression,
            "--context-size": self.context_size,
            "--batch-size": self.batch_size,
            "--skip-positions": self.skip_positions,
            "--prefix-token": self.prefix,
            "--processing": self.processing,
            "--precision": self.compute.precision,
            "--compile": self.compute.compiling,
            "--seed": self.seed,
            **{f"the installed {name}": version(name) for name in SOFTWARE},
        }


def check_request(request: Request, facts: ModelFacts) -> None:
    """Raise InputError where the options cannot go together."""
    if request.n_contexts < 1:
        raise InputError(
            f"--tokens {request.n_tokens}: not one context of {request.context_size} tokens; "
            "give more, or a smaller --context-size"
        )
    if facts.max_context and request.context_size > facts.max_context:
        raise InputError(f"--context-size {request.context_size}: {facts.label} takes {facts.max_context} at most")
    if request.skip_positions >= request.context_size:
        raise InputError(
            f"--skip-positions {request.skip_positions}: leaves nothing of a context of {request.context_size}"
        )
    if request.prefix != "none" and request.context_size == 1:
        raise InputError(f"--prefix-token {request.prefix}: fills a context of 1 token; give a larger --context-size")
    asked = request.heldout
    if asked is not None and not 0 <= asked <= (0.5 if isinstance(asked, float) else request.n_contexts // 2):
        raise InputError(
            f"--held-out: at most half of the {request.n_contexts:,} contexts (50% or {request.n_contexts // 2}) can "
            "be held out; give less"
        )


def make_schema(request: Request, widths: dict[str, int], n_contexts: int, n_heldout: int) -> Schema:
    """The store for so many contexts, of which the first `n_heldout` are held out."""
    rows_per_context = request.context_size - request.skip_positions
    widest = max(widths.values()) * ENCODINGS[request.dtype].stored.itemsize
    layout = Layout(
        n_contexts=n_contexts, n_heldout_contexts=n_heldout, rows_per_context=rows_per_context,
        rows_per_shard=choose_rows_per_shard(n_contexts * rows_per_context, widest),
        shards_per_window=SHARDS_PER_WINDOW, seed=request.seed,
    )  # fmt: skip
    return Schema(layout, widths, request.dtype, request.compression, request.context_size, request.skip_positions)


def expected_schema(request: Request, facts: ModelFacts) -> Schema:
    """The store as far as it is known before the text is read and the weights are loaded.

    Hooks other than the standard ones are counted as d_model wide. Raises InputError where no store can be so large.
    """
    hooks = full_names(request.hooks, request.layers)
    widths = dict.fromkeys(hooks, facts.d_model)
    try:
        return make_schema(request, widths, request.n_contexts, heldout_target(request.n_contexts, request.heldout))
    except StoreError as error:
        raise InputError(f"--tokens {request.n_tokens:,}: {error}; give fewer") from error


def widths_are_known(request: Request) -> bool:
    return set(request.hooks) <= set(STANDARD_HOOKS)
