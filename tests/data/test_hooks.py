"""Names of hooks."""

from __future__ import annotations

import pytest

from data.hooks import in_residual_stream, layer_of


@pytest.mark.parametrize(
    "name", ["blocks.5.hook_mlp_out", "blocks.11.hook_resid_pre", "blocks.0.hook_attn_out", "hook_embed"]
)
def test_residual_and_block_output_hooks_are_in_the_residual_stream(name: str) -> None:
    assert in_residual_stream(name)


@pytest.mark.parametrize("name", ["blocks.5.attn.hook_z", "blocks.5.mlp.hook_post", "ln_final.hook_normalized"])
def test_inner_hooks_are_not_in_the_residual_stream(name: str) -> None:
    assert not in_residual_stream(name)


def test_layer_of_reads_the_block_number_of_a_hook_name() -> None:
    assert layer_of("blocks.11.hook_mlp_out") == 11
    assert layer_of("hook_embed") is None
