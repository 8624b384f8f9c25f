"""Hook names in TransformerLens's notation, such as `blocks.5.hook_mlp_out`."""

from __future__ import annotations

import re

RESIDUAL = re.compile(r"(^|\.)hook_(resid_(pre|mid|post)|mlp_out|attn_out|embed|pos_embed)$")


def in_residual_stream(name: str) -> bool:
    """Return whether a hook's values are states of the residual stream or are added to it."""
    return RESIDUAL.search(name) is not None


def layer_of(name: str) -> int | None:
    """Return the number of the block that contains a hook, or None for a hook outside the blocks."""
    block = re.match(r"blocks\.(\d+)\.", name)
    return int(block[1]) if block else None
