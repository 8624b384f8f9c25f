"""Names of hooks, as TransformerLens has them: `blocks.5.hook_mlp_out`."""

from __future__ import annotations

import re

RESIDUAL = re.compile(r"(^|\.)hook_(resid_(pre|mid|post)|mlp_out|attn_out|embed|pos_embed)$")


def in_residual_stream(name: str) -> bool:
    """Whether a hook's values are states of the residual stream, or are added to it."""
    return RESIDUAL.search(name) is not None


def layer_of(name: str) -> int | None:
    """The block that a hook is in; None for a hook outside the blocks."""
    found = re.match(r"blocks\.(\d+)\.", name)
    return int(found[1]) if found else None
