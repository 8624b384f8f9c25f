"""Names of hooks, as TransformerLens has them: `blocks.5.hook_mlp_out`."""

from __future__ import annotations

import re


def layer_of(name: str) -> int | None:
    """The block that a hook is in; None for a hook outside the blocks."""
    found = re.match(r"blocks\.(\d+)\.", name)
    return int(found[1]) if found else None
