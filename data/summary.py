"""What is in a store, in figures: sizes, norms by hook, and how well its stream mixes.

Not here: how it is shown (the command lines).
"""

from __future__ import annotations

from typing import Any

from data.shuffle.quality import mixing
from data.shuffle.stream import DEFAULT_POOL, held_bytes, training_order
from data.store.reader import Store
from data.store.stats import Subset
from data.system.location import total_bytes


def store_facts(store: Store) -> dict[str, Any]:
    """Facts of a store as JSON values; `mixing` is None where there is no training row yet."""
    layout = store.layout
    hooks = []
    for hook in store.hooks:
        statistics = store.statistics(hook)
        hooks.append(
            {
                "hook": hook,
                "d": store.width(hook),
                "mean_norm": statistics.mean_norm(),
                "norm_variance": statistics.norm_variance(),
                "mean_norm_without_position_0": statistics.mean_norm(Subset.WITHOUT_FIRST),
                "norm_variance_without_position_0": statistics.norm_variance(Subset.WITHOUT_FIRST),
                "largest_entry": statistics.largest(),
                "relative_error": store.provenance["model"].get("relative_error", {}).get(hook),
            }
        )
    held = held_bytes(store, store.hooks, DEFAULT_POOL)
    return {
        "path": str(store.path),
        "complete": store.complete,
        "fingerprint": store.fingerprint,
        "model": store.provenance["model"]["name"],
        "forward_path": store.provenance["model"]["forward_path"],
        "precision": store.provenance["model"].get("precision"),
        "dataset": store.provenance["tokens"]["dataset"],
        "dtype": store.dtype,
        "contexts": layout.n_contexts,
        "context_size": store.schema.context_size,
        "tokens": layout.n_contexts * store.schema.context_size,
        "rows": {"train": store.n_rows("train"), "heldout": store.n_rows("heldout")},
        "shards": {"train": len(store.shards("train")), "heldout": len(store.shards("heldout"))},
        "rows_per_shard": layout.rows_per_shard,
        "bytes_on_disk": total_bytes(store.path),
        "stream": {"pool": DEFAULT_POOL, "bytes_held": held, "mixing": store_mixing(store)},
        "hooks": hooks,
    }


def store_mixing(store: Store, *, pool: int = DEFAULT_POOL, batch_size: int = 4096) -> float | None:
    """Distinct contexts in a batch over those of a uniform draw (mixing.py), from the rows' recorded origins."""
    order, members = training_order(store, pool=pool, seed=0)
    if not members:
        return None
    rows_per_context = store.layout.rows_per_context
    return mixing(order, lambda shard: store.origin(members[shard])[0], rows_per_context, batch_size=batch_size)


def describe(facts: dict[str, Any]) -> str:
    """Facts as a table for people."""
    mixed = facts["stream"]["mixing"]
    lines = [
        f"{facts['path']}: {'complete' if facts['complete'] else 'unfinished'}, "
        f"{facts['model']} on {facts['dataset']}, {facts['tokens']:,} tokens in contexts of {facts['context_size']}",
        f"rows: {facts['rows']['train']:,} train, {facts['rows']['heldout']:,} held out; {facts['dtype']}, "
        f"{facts['shards']['train']} + {facts['shards']['heldout']} shards of {facts['rows_per_shard']:,} rows, "
        f"{facts['bytes_on_disk'] / 1e9:.2f} GB on disk",
        f"mixing: {'–' if mixed is None else f'{mixed:.3f}'} of a uniform draw's contexts in a batch of 4096 "
        f"(groups of {facts['stream']['pool']} shards, {facts['stream']['bytes_held'] / 1e9:.2f} GB held for all)",
        *_precision(facts),
        *_speed(facts),
        "",
        f"{'':<28}{'':>6}{'norm ‖x‖₂':>24}{'… without position 0':>24}{'entry |xᵢ|':>12}",
        f"{'hook':<28}{'d':>6}{'mean':>12}{'variance':>12}{'mean':>12}{'variance':>12}{'largest':>12}",
    ]
    for hook in facts["hooks"]:
        lines.append(
            f"{hook['hook']:<28}{hook['d']:>6}{hook['mean_norm']:>12.3f}{hook['norm_variance']:>12.3f}"
            f"{hook['mean_norm_without_position_0']:>12.3f}{hook['norm_variance_without_position_0']:>12.3f}"
            f"{hook['largest_entry']:>12.3f}"
        )
    return "\n".join(lines)


def _speed(facts: dict[str, Any]) -> list[str]:
    """Of the harvest that has just ended, which adds it to the store's facts."""
    if not facts.get("tokens_per_second"):
        return []
    compiling = facts.get("compile_seconds")
    told = f"; compiling took {compiling:.0f} s" if compiling else ""
    return [f"harvested at {facts['tokens_per_second']:,.0f} tokens/s{told}"]


def _precision(facts: dict[str, Any]) -> list[str]:
    errors = [hook["relative_error"] for hook in facts["hooks"] if hook["relative_error"]]
    if not errors:
        return []
    return [f"computed in {facts['precision']}: {min(errors):.1e} to {max(errors):.1e} off float32 (relative, by hook)"]
