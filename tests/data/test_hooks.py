"""Names of hooks."""

from __future__ import annotations

import pytest

from data.hooks import in_residual_stream, layer_of


@pytest.mark.parametrize(
    "name", ["blocks.5.hook_mlp_out", "blocks.11.hook_resid_pre", "blocks.0.hook_attn_out", "hook_embed"]
)
def test_what_lies_in_the_residual_stream(name: str) -> None:
    assert in_residual_stream(name)


@pytest.mark.parametrize("name", ["blocks.5.attn.hook_z", "blocks.5.mlp.hook_post", "ln_final.hook_normalized"])
def test_what_does_not_though_it_may_be_as_wide(name: str) -> None:
    assert not in_residual_stream(name)


def test_a_hooks_layer() -> None:
    assert layer_of("blocks.11.hook_mlp_out") == 11
    assert layer_of("hook_embed") is None
