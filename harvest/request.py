"""The request for a harvest: its fields, whether they fit together, and the schema of the resulting store."""

from __future__ import annotations

from dataclasses import dataclass

from data.choices import Compression, DType
from data.errors import InputError, StoreError
from data.store.encodings import ENCODINGS
from data.store.layout import SHARDS_PER_WINDOW, Layout, choose_rows_per_shard
from data.store.schema import Schema
from harvest.model.base import STANDARD_HOOKS, ModelFacts, Processing, SpecialTokens, full_names
from harvest.model.precision import Compute
from harvest.text.packing import HeldOut, heldout_target
from harvest.text.sources import DatasetChoice


@dataclass(frozen=True)
class Request:
    """The options that decide a store's bytes, with all defaults filled in."""

    model: str
    revision: str | None
    n_tokens: int  # asked for; the store has whole contexts
    dataset: DatasetChoice
    layers: tuple[int, ...]
    hooks: tuple[str, ...]
    dtype: DType
    compression: Compression
    context_size: int
    batch_size: int  # contexts
    skip_positions: int
    prefix: str
    separator: str | None  # None if not given: eos for text
    special_tokens: SpecialTokens | None  # None if not given: text
    heldout: HeldOut
    processing: Processing
    seed: int
    compute: Compute

    @property
    def n_contexts(self) -> int:
        """The number of whole contexts in the tokens that are asked for."""
        return self.n_tokens // self.context_size


def check_request(request: Request, facts: ModelFacts) -> None:
    """Raise InputError if the request does not fit the model or its fields contradict each other."""
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
    held_out = request.heldout
    most = 0.5 if isinstance(held_out, float) else request.n_contexts // 2
    if held_out is not None and not 0 <= held_out <= most:
        raise InputError(
            f"--held-out: at most half of the {request.n_contexts:,} contexts (50% or {request.n_contexts // 2}) can "
            "be held out; give less"
        )


def make_schema(request: Request, widths: dict[str, int], n_contexts: int, n_heldout: int) -> Schema:
    """Return the schema of a store with `n_contexts` contexts, of which the first `n_heldout` are held out.

    `widths`: full hook name → width of its activations.
    """
    rows_per_context = request.context_size - request.skip_positions
    widest = ENCODINGS[request.dtype].row_bytes(max(widths.values()))
    layout = Layout(
        n_contexts=n_contexts, n_heldout_contexts=n_heldout, rows_per_context=rows_per_context,
        rows_per_shard=choose_rows_per_shard(n_contexts * rows_per_context, widest),
        shards_per_window=SHARDS_PER_WINDOW, seed=request.seed,
    )  # fmt: skip
    return Schema(layout, widths, request.dtype, request.compression, request.context_size, request.skip_positions)


def expected_schema(request: Request, facts: ModelFacts) -> Schema:
    """Return the schema expected before the text is read and the weights are loaded.

    It counts hooks other than the standard ones as d_model wide. Raises InputError if no store can be so large.
    """
    hooks = full_names(request.hooks, request.layers)
    widths = dict.fromkeys(hooks, facts.d_model)
    try:
        return make_schema(request, widths, request.n_contexts, heldout_target(request.n_contexts, request.heldout))
    except StoreError as error:
        raise InputError(f"--tokens {request.n_tokens:,}: {error}; give fewer") from error


def widths_are_known(request: Request) -> bool:
    """Return whether all requested hooks are standard ones, which are d_model wide."""
    return set(request.hooks) <= set(STANDARD_HOOKS)
