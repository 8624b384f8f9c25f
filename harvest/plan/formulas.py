"""The formulas of a plan: pure arithmetic. A FLOP is one multiplication or one addition."""

from __future__ import annotations

from collections.abc import Mapping

SAE_PRODUCTS = 5  # encode, decode, ∂L/∂c, and the gradients of both weight matrices
STACK_BATCH, STACK_BYTES = 4096, 2 << 30  # train/loop/memory_plan.py: rows of a batch, bytes of a stack's features


def forward_flops(parameters_per_token: float, n_blocks: int, attention_width: int, context_size: int) -> float:
    """Return the FLOPs of a forward pass per token: 2 P + n · 4 w (T + 1) / 2.

    Each of the P block parameters that a token uses is multiplied and added once. Each of n causal attentions compares
    a token with (T + 1) / 2 tokens on average, in two products of width w (heads × head size).
    """
    return 2 * parameters_per_token + n_blocks * 4 * attention_width * (context_size + 1) / 2


def rate(flops_per_item: float, flops_per_second: float, share: float) -> float:
    """Return items per second: share · F / f, for a device that multiplies matrices at F FLOP/s."""
    return share * flops_per_second / flops_per_item


def most_contexts(rows_per_context: int, rows_per_shard: int, n_columns: int, most_commit_bytes: int) -> int:
    """Return the most contexts of a store: (B / 8 c − 1) · rows per shard / rows per context.

    B bytes may be taken by a table of c columns of 8 bytes per shard; one shard is lost at the border of the splits.
    """
    return (most_commit_bytes // (8 * n_columns) - 1) * rows_per_shard // rows_per_context


def sae_flops(d_model: int, d_sae: int) -> float:
    """Return the FLOPs of a dense training step per row and SAE: 5 products · 2 d m."""
    return SAE_PRODUCTS * 2.0 * d_model * d_sae


def sae_parameters(d_model: int, d_sae: int) -> int:
    """Return an SAE's number of parameters: two matrices d × m and two biases, 2 d m + m + d."""
    return 2 * d_model * d_sae + d_sae + d_model


def training_bytes(n_saes: int, d_model: int, d_sae: int) -> int:
    """Return the memory of training: 1.1 (4 P (3 n + s) + s (4 d m + 8 b m)) bytes.

    P parameters and Adam's two moments of n SAEs are in float32. The s SAEs that are stepped together have gradients, a
    temporary as large as a weight, and 8 bytes per feature and row of a batch of b rows: features and their gradients
    in bfloat16, a mask, and active pairs. s is the number of SAEs whose features fit into 2 GiB.
    """
    features = STACK_BATCH * d_sae
    stacked = min(max(STACK_BYTES // (2 * features), 1), n_saes)
    state = 4 * sae_parameters(d_model, d_sae) * (3 * n_saes + stacked)
    return int(1.1 * (state + stacked * (4 * d_model * d_sae + 8 * features)))


def slowest(rates: Mapping[str, float]) -> str:
    """Return the name of the smallest rate; the first of equal ones."""
    return min(rates, key=lambda name: rates[name])
