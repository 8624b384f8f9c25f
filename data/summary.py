"""A summary of a store in numbers: sizes, norms per hook, and the quality of its stream's mixing."""

from __future__ import annotations

from dataclasses import dataclass

from data.shuffle.quality import mixing
from data.shuffle.stream import DEFAULT_POOL, held_bytes, training_order
from data.store.layout import SPLITS
from data.store.reader import Store
from data.store.stats import Subset
from data.system.location import total_bytes


@dataclass(frozen=True)
class HookSummary:
    """One hook: its width `d`, and the L2 norms and largest |entry| of its training rows.

    relative_error: ‖x − x̂‖ / ‖x‖ of the harvest's precision against float32; None if it was not measured.
    """

    hook: str
    d: int
    mean_norm: float
    norm_variance: float
    mean_norm_without_position_0: float
    norm_variance_without_position_0: float
    largest_entry: float
    relative_error: float | None


@dataclass(frozen=True)
class StreamSummary:
    """The shuffled stream of all hooks with `pool` shards per group: bytes of shards it holds, and its mixing.

    mixing: distinct contexts in a batch of 4096 rows, relative to a uniform draw; None without training rows.
    """

    pool: int
    bytes_held: int
    mixing: float | None


@dataclass(frozen=True)
class TruthSummary:
    """The known features that activations are sums of: their number, and how many fire in a row, as expected (`l0`)."""

    features: int
    l0: float


@dataclass(frozen=True)
class StoreSummary:
    """A store in numbers; `dataclasses.asdict` is its JSON form. `rows` and `shards` are per split.

    unknown: what the store cannot tell (data/FORMAT.md, section 3). truth: None if the features are unknown.
    """

    path: str
    complete: bool
    fingerprint: str | None
    identity: str
    model: str
    forward_path: str | None
    precision: str | None
    dataset: str
    dtype: str
    contexts: int
    context_size: int
    tokens: int
    rows: dict[str, int]
    recycled_windows: int
    windows: int
    shards: dict[str, int]
    rows_per_shard: int
    bytes_on_disk: int
    stream: StreamSummary
    hooks: list[HookSummary]
    unknown: list[str]
    truth: TruthSummary | None


def summarize(store: Store) -> StoreSummary:
    """Return a store's summary. Reads statistics and row origins. Raises DamagedError if one of them is damaged."""
    layout, model = store.layout, store.provenance["model"]
    splits = tuple(reversed(SPLITS))  # training first
    return StoreSummary(
        path=str(store.path),
        complete=store.complete,
        fingerprint=store.fingerprint,
        identity=store.identity,
        model=store.model_name,
        forward_path=model.get("forward_path"),
        precision=model.get("precision"),
        dataset=store.dataset,
        dtype=store.dtype,
        contexts=layout.n_contexts,
        context_size=store.schema.context_size,
        tokens=layout.n_contexts * store.schema.context_size,
        rows={split: store.n_rows(split) for split in splits},
        recycled_windows=store.recycled_windows,
        windows=layout.n_windows,
        shards={split: len(store.shards(split)) for split in splits},
        rows_per_shard=layout.rows_per_shard,
        bytes_on_disk=total_bytes(store.path),
        stream=StreamSummary(DEFAULT_POOL, held_bytes(store, store.hooks, DEFAULT_POOL), store_mixing(store)),
        hooks=[_hook(store, hook, model.get("relative_error", {}).get(hook)) for hook in store.hooks],
        unknown=store.unknown,
        truth=None if store.truth is None else TruthSummary(store.truth.sizes.n_features, store.truth.l0),
    )


def store_mixing(store: Store, *, pool: int = DEFAULT_POOL, batch_size: int = 4096) -> float | None:
    """Return the mixing of a store's stream (data/shuffle/quality.py), from its rows' recorded origins.

    None if there is no training row yet, or if training rows were recycled.
    """
    order, members = training_order(store, pool=pool, seed=0)
    if not members or store.recycled:
        return None
    rows_per_context = store.layout.rows_per_context
    return mixing(order, lambda shard: store.origin(members[shard])[0], rows_per_context, batch_size=batch_size)


def _hook(store: Store, hook: str, relative_error: float | None) -> HookSummary:
    statistics = store.statistics(hook)
    return HookSummary(
        hook=hook,
        d=store.width(hook),
        mean_norm=statistics.mean_norm(),
        norm_variance=statistics.norm_variance(),
        mean_norm_without_position_0=statistics.mean_norm(Subset.WITHOUT_FIRST),
        norm_variance_without_position_0=statistics.norm_variance(Subset.WITHOUT_FIRST),
        largest_entry=statistics.largest(),
        relative_error=relative_error,
    )
