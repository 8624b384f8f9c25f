"""The two widest products of a dense step for GPUs, in Triton. Each is fused with the elementwise work on its output,
which is done in float32 before rounding to bfloat16 and storing.

    encode      c = tanh(ReLU(W_enc inner + b_enc + σε)) or ReLU(…), ‖c‖₁, and the counts of active features
    backward_   ∂L/∂pre = ∂c/∂pre · (∂L/∂x̂ W_decᵀ + ∂L/∂‖c‖₁), and its sum over the rows

So c is written once; three of PyTorch's products and `backward_` read it. A program computes a tile of rows × features
of one SAE. Tiles are loaded and stored by the card's tensor memory accelerator. Sums over rows or features are first
summed per tile, and the tiles' sums in a fixed order, so results repeat bit for bit; counts are integers, added
atomically.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

ROWS, FEATURES, INNER = 128, 128, 64  # of a tile, and of d_model per iteration of its product
HALF = FEATURES // 2  # the elementwise work is done on half a tile at a time, which fits in registers
LAUNCH = {"num_warps": 4, "num_stages": 3}  # two programs per multiprocessor: one multiplies while the other finishes


def encode(
    inner: Tensor, W_enc: Tensor, b_enc: Tensor, noise: tuple[Tensor, Tensor] | None, *, tanh: bool, c: Tensor,
    dactivation: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Write c = ReLU, or tanh(ReLU), of W_enc inner + b_enc + σε into `c` [n, rows, d_sae].

    inner bfloat16 [n, rows, d_model], W_enc bfloat16 [n, d_sae, d_model], b_enc float32 [n, d_sae]; noise is σ float32
    [n] and ε bfloat16 [rows, d_sae]; dactivation, if given, receives ∂c/∂pre, shaped as c. Returns ‖c‖₁ float32
    [n, rows], and in how many rows each feature is active with and without the noise: int32 [n, d_sae] each.
    """
    n, n_rows, d_sae = c.shape
    sigma, epsilon = noise or (None, None)
    l1 = torch.empty(2 * triton.cdiv(d_sae, FEATURES), n, n_rows, device=c.device)
    fires = torch.zeros(1 if noise is None else 2, n, d_sae, dtype=torch.int32, device=c.device)
    _encode[_tiles(n_rows, d_sae), n](
        _tiled(inner, ROWS, INNER), _tiled(W_enc, FEATURES, INNER), _tiled(c, ROWS, HALF),
        None if dactivation is None else _tiled(dactivation, ROWS, HALF),
        None if epsilon is None else _tiled(epsilon, ROWS, HALF), sigma, b_enc, l1,
        fires[0], fires[-1], n, n_rows, d_sae, inner.shape[2], tanh, noise is not None, dactivation is not None,
        ROWS, FEATURES, INNER, **LAUNCH,
    )  # fmt: skip
    return l1.sum(dim=0), fires[0], fires[-1]


def backward_(dx_hat: Tensor, W_dec: Tensor, dl1: Tensor, *, c: Tensor, dactivation: Tensor | None) -> Tensor:
    """Write ∂L/∂pre = ∂c/∂pre · (∂L/∂x̂ W_decᵀ + ∂L/∂‖c‖₁) over c [n, rows, d_sae].

    dx_hat bfloat16 [n, rows, d_model], W_dec bfloat16 [n, d_sae, d_model], dl1 float32 [n, rows]. Without
    `dactivation`, ∂c/∂pre is 1 where c > 0. Returns the sum of ∂L/∂pre over the rows: float32 [n, d_sae].
    """
    n, n_rows, d_sae = c.shape
    sums = torch.empty(triton.cdiv(n_rows, ROWS), n, d_sae, device=dx_hat.device)
    _backward[_tiles(n_rows, d_sae), n](
        _tiled(dx_hat, ROWS, INNER), _tiled(W_dec, FEATURES, INNER), _tiled(c, ROWS, HALF),
        _tiled(c if dactivation is None else dactivation, ROWS, HALF), dl1, sums, n, n_rows, d_sae, dx_hat.shape[2],
        dactivation is not None, ROWS, FEATURES, INNER, **LAUNCH,
    )  # fmt: skip
    return sums.sum(dim=0)


def _tiles(n_rows: int, d_sae: int) -> int:
    """Count the tiles of one SAE."""
    return triton.cdiv(n_rows, ROWS) * triton.cdiv(d_sae, FEATURES)


def _tiled(tensor: Tensor, rows: int, columns: int) -> TensorDescriptor:
    """Describe a tensor [(n,) …, …] for loads and stores of tiles [rows, columns]. Beyond its end it reads as 0."""
    return TensorDescriptor.from_tensor(tensor, [*[1] * (tensor.dim() - 2), rows, columns])


@triton.jit
def _product(rows, W, sae, row, feature, d_model, ROWS: tl.constexpr, FEATURES: tl.constexpr, INNER: tl.constexpr):
    """Return rows · Wᵀ for a tile, float32."""
    total = tl.zeros([ROWS, FEATURES], dtype=tl.float32)
    for begin in range(0, d_model, INNER):
        a = rows.load([sae, row, begin]).reshape(ROWS, INNER)
        b = W.load([sae, feature, begin]).reshape(FEATURES, INNER)
        total = tl.dot(a, b.T, total)
    return total


@triton.jit
def _halves(tile, ROWS: tl.constexpr, FEATURES: tl.constexpr):
    """Split a tile into its left and right features."""
    return tl.split(tile.reshape(ROWS, 2, FEATURES // 2).permute(0, 2, 1))


@triton.jit
def _encode(
    inner, W, c, dactivation, epsilon, sigma, bias, l1, fires, fires_without_noise, n, n_rows, d_sae, d_model,
    TANH: tl.constexpr, NOISE: tl.constexpr, DERIVATIVE: tl.constexpr,
    ROWS: tl.constexpr, FEATURES: tl.constexpr, INNER: tl.constexpr,
):  # fmt: skip
    sae = tl.program_id(1)
    row_tiles = tl.cdiv(n_rows, ROWS)
    row = tl.program_id(0) % row_tiles * ROWS
    feature = tl.program_id(0) // row_tiles * FEATURES
    total = _product(inner, W, sae, row, feature, d_model, ROWS, FEATURES, INNER)
    left, right = _halves(total, ROWS, FEATURES)
    HALF: tl.constexpr = FEATURES // 2
    rows = row + tl.arange(0, ROWS)
    row_inside = rows < n_rows
    scale = tl.load(sigma + sae) if NOISE else 0.0
    for half in tl.static_range(2):
        pre = left if half == 0 else right
        first = feature + half * HALF
        features = first + tl.arange(0, HALF)
        feature_inside = features < d_sae
        index = sae.to(tl.int64) * d_sae + features
        # Features and rows beyond the last must not be active.
        pre += tl.load(bias + index, mask=feature_inside, other=0.0)[None, :]
        pre = tl.where(row_inside[:, None], pre, 0.0)
        if NOISE:
            count = tl.sum((pre > 0).to(tl.int32), axis=0)
            tl.atomic_add(fires_without_noise + index, count, mask=feature_inside & (count > 0))
            pre += scale * epsilon.load([row, first]).to(tl.float32)  # 0 beyond the last
        value = tl.maximum(pre, 0.0)
        if TANH:
            decay = tl.exp(-2 * value)  # tanh(v) = (1 − e⁻²ᵛ) / (1 + e⁻²ᵛ)
            sigmoid = 1 / (1 + decay)
            if DERIVATIVE:
                derivative = tl.where(value > 0, 4 * decay * sigmoid * sigmoid, 0.0)
                dactivation.store([sae, row, first], derivative.to(dactivation.dtype).reshape(1, ROWS, HALF))
            value = (1 - decay) * sigmoid
        rounded = value.to(c.dtype)
        c.store([sae, row, first], rounded.reshape(1, ROWS, HALF))
        value = rounded.to(tl.float32)
        tile = first // HALF
        tl.store(l1 + (tile.to(tl.int64) * n + sae) * n_rows + rows, tl.sum(value, axis=1), mask=row_inside)
        count = tl.sum((value > 0).to(tl.int32), axis=0)
        tl.atomic_add(fires + index, count, mask=feature_inside & (count > 0))


@triton.jit
def _backward(
    dx_hat, W, c, dactivation, dl1, sums, n, n_rows, d_sae, d_model,
    DERIVATIVE: tl.constexpr, ROWS: tl.constexpr, FEATURES: tl.constexpr, INNER: tl.constexpr,
):  # fmt: skip
    sae = tl.program_id(1)
    row_tiles = tl.cdiv(n_rows, ROWS)
    row_tile = tl.program_id(0) % row_tiles
    row = row_tile * ROWS
    feature = tl.program_id(0) // row_tiles * FEATURES
    total = _product(dx_hat, W, sae, row, feature, d_model, ROWS, FEATURES, INNER)
    left, right = _halves(total, ROWS, FEATURES)
    HALF: tl.constexpr = FEATURES // 2
    rows = row + tl.arange(0, ROWS)
    l1_gradient = tl.load(dl1 + sae.to(tl.int64) * n_rows + rows, mask=rows < n_rows, other=0.0)
    for half in tl.static_range(2):
        first = feature + half * HALF
        features = first + tl.arange(0, HALF)
        gradient = (left if half == 0 else right) + l1_gradient[:, None]
        derivative = dactivation.load([sae, row, first]).reshape(ROWS, HALF)  # c if not DERIVATIVE
        if DERIVATIVE:
            gradient *= derivative.to(tl.float32)
        else:
            gradient = tl.where(derivative > 0, gradient, 0.0)
        c.store([sae, row, first], gradient.to(c.dtype).reshape(1, ROWS, HALF))
        index = (row_tile.to(tl.int64) * n + sae) * d_sae + features
        tl.store(sums + index, tl.sum(gradient, axis=0), mask=features < d_sae)
