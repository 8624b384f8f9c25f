"""The loss's gradients for a stack of SAEs, written out, so that a step keeps little memory and allocates less.

With r = x̂ − x in the SAE's own scale, w the weight of a squared entry (objective.py) and B the batch's rows:

    ∂L/∂x̂ = 2 w r / B              ∂L/∂W_dec = cᵀ ∂L/∂x̂         ∂L/∂c = ∂L/∂x̂ W_decᵀ + β/B
    ∂L/∂pre = activation′ · ∂L/∂c  ∂L/∂W_enc = (∂L/∂pre)ᵀ (x − b_dec)    ∂L/∂b_enc = Σ ∂L/∂pre
    ∂L/∂b_dec = Σ ∂L/∂x̂ − ∂L/∂b_enc W_enc                         (the bias is tied: the encoder sees x − b_dec)

Rows are independent, so the batch is worked through in blocks of rows, and only a block's features are in memory.
Products are computed in `compute` (bfloat16 on a GPU); parameters, gradients and sums stay float32.

Not here: encoding (encode.py), the products of features (features.py), the optimizer (optimizer.py), constraints (the
architectures), what is measured (measures.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from train.sae import SAE, Gradients
from train.step.dense import slices
from train.step.encode import Weights, encode
from train.step.features import Features, split_by_density
from train.step.workspace import BatchNoise, StepWorkspace


@dataclass(frozen=True)
class Forward:
    """What a step saw of n SAEs and B rows.

    l1 [n, B]: ‖c‖₁ of each row. fires int64 [n, d_sae]: in how many rows each feature fired; fires_without_noise: the
    same with noise off. residual [n, B, d_model]: x̂ − x in the SAEs' own scale.
    """

    l1: Tensor
    fires: Tensor
    fires_without_noise: Tensor
    residual: Tensor


@torch.no_grad()
def forward(sae: SAE, x: Tensor, epsilon: BatchNoise | None, *, workspace: StepWorkspace) -> Forward:
    """What a stack of SAEs makes of x [n, B, d_model], the input as they see it, which is overwritten."""
    found = _empty_forward(sae, x, epsilon)
    inner = x.sub_(sae.b_dec[:, None])
    for _ in _encoded(sae, Weights(sae, workspace.c.dtype), inner, epsilon, workspace, found):
        pass
    return found


@torch.no_grad()
def gradients(
    sae: SAE,
    x: Tensor,
    beta: Tensor,
    epsilon: BatchNoise | None,
    *,
    l2_weight: float,
    workspace: StepWorkspace,
    out: Gradients,
) -> Forward:
    """Fill `out` with the gradients of the mean loss of each SAE of a stack.

    x [n, B, d_model] is the input as the SAEs see it (divided by `input_scale`); it is overwritten. beta [n, 1] or
    [n, B]; epsilon gives standard normal noise [rows, d_sae] for `workspace.noise_rows` of the rows or fewer, shared by
    the stack.
    """
    n_rows = x.shape[1]
    found = _empty_forward(sae, x, epsilon)
    weights = Weights(sae, workspace.c.dtype)
    inner = x.sub_(sae.b_dec[:, None])
    sparsity = beta.expand(-1, n_rows) / n_rows
    out.b_dec.zero_()
    out.b_enc.zero_()
    for part, rows, here, c in _encoded(sae, weights, inner, epsilon, workspace, found):
        outer = found.residual[part, rows] * (2 * l2_weight / n_rows)
        out.b_dec[part] += outer.sum(dim=1)
        outer = outer.to(workspace.c.dtype)
        c.add_outer_(out.W_dec[part], outer, first=not rows.start)
        gradient = c.backward(sae, outer, weights.dec[part], sparsity[part, rows])
        gradient.add_outer_(out.W_enc[part], here[part], first=not rows.start)
        gradient.add_sum_(out.b_enc[part])
    out.b_dec.sub_((out.b_enc[:, None] @ sae.W_enc)[:, 0])
    return found


def _empty_forward(sae: SAE, x: Tensor, epsilon: BatchNoise | None) -> Forward:
    fires = torch.zeros(sae.b_enc.shape, dtype=torch.int64, device=x.device)
    fires_without_noise = fires if epsilon is None else torch.zeros_like(fires)
    return Forward(torch.empty_like(x[..., 0]), fires, fires_without_noise, torch.empty_like(x))


def _encoded(
    sae: SAE, weights: Weights, inner: Tensor, epsilon: BatchNoise | None, workspace: StepWorkspace, found: Forward
) -> Iterator[tuple[slice, slice, Tensor, Features]]:
    """Fill in what is found, block by block: gives a part of the stack, rows, x − b_dec of all, and the part's c."""
    for rows in slices(inner.shape[1], workspace.n_rows):
        here = inner[:, rows].to(workspace.c.dtype)
        block = encode(sae, weights, here, epsilon, rows, workspace)
        found.fires.add_(block.fires)
        if epsilon is not None:
            found.fires_without_noise.add_(block.fires_without_noise)
        for part, is_dense in split_by_density(
            block.fires, n_rows=here.shape[1], threshold=workspace.max_sparse_density
        ):
            c = block.dense(part) if is_dense else block.sparse(part)
            found.l1[part, rows] = c.l1()
            torch.sub(c.decode(weights.dec[part]), inner[part, rows], out=found.residual[part, rows])
            yield part, rows, here, c
