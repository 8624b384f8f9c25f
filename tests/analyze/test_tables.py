"""CSV cells, and what hooks are called."""

from __future__ import annotations

from typing import Any

from analyze.tables import as_csv, layers


def test_csv_cells_of_nan_are_empty_and_lists_are_separated_by_spaces() -> None:
    rows: list[dict[str, Any]] = [
        {"a": None, "b": float("nan"), "c": float("inf"), "d": [1, None, float("nan"), "x"], "e": False},
        {"a": 0, "b": 0.5, "c": "x, y", "d": [], "e": True},
    ]
    assert as_csv(rows).splitlines() == ["a,b,c,d,e", ",,,1   x,False", '0,0.5,"x, y",,True']
    assert as_csv([]) == "\n"


def test_hooks_of_one_block_are_labelled_by_their_full_names() -> None:
    one_kind = ["blocks.0.hook_mlp_out", "blocks.11.hook_mlp_out", "ln_final.hook_normalized"]
    assert layers(one_kind) == ["0", "11", "ln_final.hook_normalized"]
    two_kinds = ["blocks.0.hook_mlp_out", "blocks.0.hook_resid_post", "blocks.1.hook_mlp_out"]
    assert layers(two_kinds) == two_kinds
