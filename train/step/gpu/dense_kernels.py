"""A dense step's two widest products for GPUs, in Triton, each with all that follows on its entries done before they
are rounded and written: c is written once, and read by three products of PyTorch's and one of these.

A program computes a tile of rows × features of one SAE, whose parts come and go through the card's tensor memory
accelerator. Sums over rows or features are of tiles first, whose sums are added up in a fixed order; counts may be
added in any.

Not here: other architectures than those of encode.FUSED, and other types than bfloat16 (dense.py).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

ROWS, FEATURES, INNER = 128, 128, 64  # of a tile, and of d_model at once
HALF = FEATURES // 2  # what is finished at once, so that it stays in registers
LAUNCH = {"num_warps": 4, "num_stages": 3}  # two tiles at a time on a multiprocessor: one's products, the other's rest


def encode(
    inner: Tensor, W_enc: Tensor, b_enc: Tensor, noise: tuple[Tensor, Tensor] | None, *, tanh: bool, c: Tensor,
    slope: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """c = ReLU, or tanh(ReLU), of W_enc inner + b_enc + σε into `c` [n, rows, d_sae], and if given its slope likewise.

    inner bfloat16 [n, rows, d_model], W_enc bfloat16 [n, d_sae, d_model], b_enc float32 [n, d_sae]; noise is σ float32
    [n] and ε bfloat16 [rows, d_sae]. Returns ‖c‖₁ float32 [n, rows]; and in how many rows each feature fires, and would
    without noise: int32 [n, d_sae] each.
    """
    n, n_rows, d_sae = c.shape
    sigma, epsilon = noise or (None, None)
    l1 = torch.empty(2 * triton.cdiv(d_sae, FEATURES), n, n_rows, device=c.device)
    fires = torch.zeros(1 if noise is None else 2, n, d_sae, dtype=torch.int32, device=c.device)
    _encode[_tiles(n_rows, d_sae), n](
        _pieces(inner, ROWS, INNER), _pieces(W_enc, FEATURES, INNER), _pieces(c, ROWS, HALF),
        None if slope is None else _pieces(slope, ROWS, HALF),
        None if epsilon is None else _pieces(epsilon, ROWS, HALF), sigma, b_enc, l1,
        fires[0], fires[-1], n, n_rows, d_sae, inner.shape[2], tanh, noise is not None, slope is not None,
        ROWS, FEATURES, INNER, **LAUNCH,
    )  # fmt: skip
    return l1.sum(dim=0), fires[0], fires[-1]


def backward(outer: Tensor, W_dec: Tensor, sparsity: Tensor, *, c: Tensor, slope: Tensor | None) -> Tensor:
    """∂L/∂pre = c′ · (W_dec outer + sparsity), written over c [n, rows, d_sae]; c′ is `slope`, or else where c > 0.

    outer bfloat16 [n, rows, d_model], W_dec bfloat16 [n, d_sae, d_model], sparsity float32 [n, rows]. Returns its sum
    over the rows: float32 [n, d_sae].
    """
    n, n_rows, d_sae = c.shape
    sums = torch.empty(triton.cdiv(n_rows, ROWS), n, d_sae, device=outer.device)
    _backward[_tiles(n_rows, d_sae), n](
        _pieces(outer, ROWS, INNER), _pieces(W_dec, FEATURES, INNER), _pieces(c, ROWS, HALF),
        _pieces(c if slope is None else slope, ROWS, HALF), sparsity, sums, n, n_rows, d_sae, outer.shape[2],
        slope is not None, ROWS, FEATURES, INNER, **LAUNCH,
    )  # fmt: skip
    return sums.sum(dim=0)


def _tiles(n_rows: int, d_sae: int) -> int:
    return triton.cdiv(n_rows, ROWS) * triton.cdiv(d_sae, FEATURES)


def _pieces(tensor: Tensor, rows: int, columns: int) -> TensorDescriptor:
    """A tensor [(n,) rows, columns] to be read or written by pieces of so many; beyond its end it is 0."""
    return TensorDescriptor.from_tensor(tensor, [*[1] * (tensor.dim() - 2), rows, columns])


@triton.jit
def _product(rows, W, sae, row, feature, d_model, ROWS: tl.constexpr, FEATURES: tl.constexpr, INNER: tl.constexpr):
    """rows · Wᵀ for a tile, float32."""
    total = tl.zeros([ROWS, FEATURES], dtype=tl.float32)
    for begin in range(0, d_model, INNER):
        a = rows.load([sae, row, begin]).reshape(ROWS, INNER)
        b = W.load([sae, feature, begin]).reshape(FEATURES, INNER)
        total = tl.dot(a, b.T, total)
    return total


@triton.jit
def _halves(tile, ROWS: tl.constexpr, FEATURES: tl.constexpr):
    return tl.split(tile.reshape(ROWS, 2, FEATURES // 2).permute(0, 2, 1))


@triton.jit
def _encode(
    inner, W, c, slope, epsilon, sigma, bias, l1, fires, fires_without_noise, n, n_rows, d_sae, d_model,
    TANH: tl.constexpr, NOISY: tl.constexpr, SLOPE: tl.constexpr,
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
    scale = tl.load(sigma + sae) if NOISY else 0.0
    for half in tl.static_range(2):
        pre = left if half == 0 else right
        first = feature + half * HALF
        features = first + tl.arange(0, HALF)
        feature_inside = features < d_sae
        place = sae.to(tl.int64) * d_sae + features
        # A feature or row beyond the last must not fire.
        pre += tl.load(bias + place, mask=feature_inside, other=0.0)[None, :]
        pre = tl.where(row_inside[:, None], pre, 0.0)
        if NOISY:
            count = tl.sum((pre > 0).to(tl.int32), axis=0)
            tl.atomic_add(fires_without_noise + place, count, mask=feature_inside & (count > 0))
            drawn = epsilon.load([row, first]).to(tl.float32)  # 0 beyond the last
            pre += scale * drawn
        value = tl.maximum(pre, 0.0)
        if TANH:
            small = tl.exp(-2 * value)
            share = 1 / (1 + small)
            if SLOPE:
                steepness = tl.where(value > 0, 4 * small * share * share, 0.0)
                slope.store([sae, row, first], steepness.to(slope.dtype).reshape(1, ROWS, HALF))
            value = (1 - small) * share
        rounded = value.to(c.dtype)
        c.store([sae, row, first], rounded.reshape(1, ROWS, HALF))
        value = rounded.to(tl.float32)
        tile = first // HALF
        tl.store(l1 + (tile.to(tl.int64) * n + sae) * n_rows + rows, tl.sum(value, axis=1), mask=row_inside)
        count = tl.sum((value > 0).to(tl.int32), axis=0)
        tl.atomic_add(fires + place, count, mask=feature_inside & (count > 0))


@triton.jit
def _backward(
    outer, W, c, slope, sparsity, sums, n, n_rows, d_sae, d_model,
    SLOPE: tl.constexpr, ROWS: tl.constexpr, FEATURES: tl.constexpr, INNER: tl.constexpr,
):  # fmt: skip
    sae = tl.program_id(1)
    row_tiles = tl.cdiv(n_rows, ROWS)
    row_tile = tl.program_id(0) % row_tiles
    row = row_tile * ROWS
    feature = tl.program_id(0) // row_tiles * FEATURES
    total = _product(outer, W, sae, row, feature, d_model, ROWS, FEATURES, INNER)
    left, right = _halves(total, ROWS, FEATURES)
    HALF: tl.constexpr = FEATURES // 2
    rows = row + tl.arange(0, ROWS)
    pull = tl.load(sparsity + sae.to(tl.int64) * n_rows + rows, mask=rows < n_rows, other=0.0)
    for half in tl.static_range(2):
        first = feature + half * HALF
        features = first + tl.arange(0, HALF)
        gradient = (left if half == 0 else right) + pull[:, None]
        steepness = slope.load([sae, row, first]).reshape(ROWS, HALF)  # 0 beyond the last
        if SLOPE:
            gradient *= steepness.to(tl.float32)
        else:
            gradient = tl.where(steepness > 0, gradient, 0.0)
        c.store([sae, row, first], gradient.to(c.dtype).reshape(1, ROWS, HALF))
        place = (row_tile.to(tl.int64) * n + sae) * d_sae + features
        tl.store(sums + place, tl.sum(gradient, axis=0), mask=features < d_sae)
