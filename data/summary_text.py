"""A store's summary as text, for `harvest` and `analyze store`."""

from __future__ import annotations

from data.summary import StoreSummary


def summary_text(
    summary: StoreSummary, *, tokens_per_second: float | None = None, compile_seconds: float | None = None
) -> str:
    """Return a summary as a table; the two speeds are those of a harvest that has just ended."""
    lines = [
        f"{summary.path}: {'complete' if summary.complete else 'unfinished'}, "
        f"{summary.model} on {summary.dataset}, {summary.tokens:,} tokens in contexts of {summary.context_size}",
        f"rows: {summary.rows['train']:,} train, {summary.rows['heldout']:,} held out; {summary.dtype}, "
        f"{summary.shards['train']} + {summary.shards['heldout']} shards of {summary.rows_per_shard:,} rows, "
        f"{summary.bytes_on_disk / 1e9:.2f} GB on disk",
        f"mixing: {'–' if summary.stream.mixing is None else f'{summary.stream.mixing:.3f}'} of a uniform draw's "
        f"contexts in a batch of 4096 (groups of {summary.stream.pool} shards, "
        f"{summary.stream.bytes_held / 1e9:.2f} GB held for all hooks)",
    ]
    if summary.recycled_windows:
        lines.append(
            f"recycled: the training rows of the first {summary.recycled_windows} of {summary.windows} windows were "
            "removed after a training had used them"
        )
    if summary.unknown:
        lines.append(f"unknown: {', '.join(summary.unknown).replace('_', ' ')}")
    if summary.truth is not None:
        lines.append(f"truth: {summary.truth.features:,} features, of which {summary.truth.l0:.3g} fire per row")
    errors = [hook.relative_error for hook in summary.hooks if hook.relative_error]
    if errors:
        lines.append(
            f"computed in {summary.precision}: relative error against float32 {min(errors):.1e} to {max(errors):.1e}, "
            "depending on the hook"
        )
    if tokens_per_second:
        compiled = f"; compiling took {compile_seconds:.0f} s" if compile_seconds else ""
        lines.append(f"harvested at {tokens_per_second:,.0f} tokens/s{compiled}")
    lines += [
        "",
        f"{'':<28}{'':>6}{'norm ‖x‖₂':>24}{'… without position 0':>24}{'entry |xᵢ|':>12}",
        f"{'hook':<28}{'d':>6}{'mean':>12}{'variance':>12}{'mean':>12}{'variance':>12}{'largest':>12}",
    ]
    for hook in summary.hooks:
        lines.append(
            f"{hook.hook:<28}{hook.d:>6}{hook.mean_norm:>12.3f}{hook.norm_variance:>12.3f}"
            f"{hook.mean_norm_without_position_0:>12.3f}{hook.norm_variance_without_position_0:>12.3f}"
            f"{hook.largest_entry:>12.3f}"
        )
    return "\n".join(lines)
