"""Products on active pairs alone give what the dense products give, whatever is active."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import block_diag

from tests.helpers.saes.steps import CPU, B, D, M, stack, stepped
from train.optim.adam import StackAdam
from train.sae import Gradients
from train.sae.selection import flatnonzero
from train.step import pair_products
from train.step.encode import make_encoder
from train.step.gradients import gradients
from train.step.sparse import Pairs
from train.step.workspace import StepWorkspace


@pytest.mark.parametrize("variant", ["baseline", "nsae"])
@pytest.mark.parametrize("rows", [B, 32, 17])
@pytest.mark.parametrize("bias", [[-0.5, -2.0], [1.0, -9.0], [-60.0, -60.0]], ids=["some", "mixed", "none"])
def test_sparse_gradients_equal_dense_ones_to_1e_10(variant: str, rows: int, bias: list[float]) -> None:
    sae = stack(variant, 2, bias=bias, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, B, D, generator=generator, dtype=torch.float64)
    epsilon = torch.randn(B, M, generator=generator, dtype=torch.float64)
    dense, seen = stepped(sae, x, epsilon, rows=rows, below=0.0)
    for below in (1.0, 0.3):
        out, result = stepped(sae, x, epsilon, rows=rows, below=below)
        for ours, theirs in zip(out.tensors(), dense.tensors(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(result.l1, seen.l1, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(result.residual, seen.residual, rtol=1e-12, atol=1e-12)
        assert torch.equal(result.fires, seen.fires)
        alone = (sae.encode(x) > 0).sum(dim=1)
        assert torch.equal(result.fires_without_noise, alone)
        assert variant == "baseline" or bias[0] < -9 or not torch.equal(result.fires_without_noise, result.fires)


@pytest.mark.parametrize("variant", ["baseline", "nsae"])
def test_sparse_steps_have_the_losses_of_dense_steps(variant: str) -> None:
    generator = torch.Generator().manual_seed(2)
    dictionary = torch.randn(40, D, generator=generator)
    losses: dict[float, list[float]] = {}
    xs = (torch.rand(60, 1, B, 40, generator=generator) < 0.06).float() @ dictionary
    epsilons = torch.randn(60, B, M, generator=generator)
    for below in (0.0, 0.5):
        sae = stack(variant, 1, bias=[-0.3], dtype=torch.float32)
        out = Gradients.allocate(1, d_model=D, d_sae=M, device=CPU)
        workspace = StepWorkspace.allocate(
            1, 32, M, grad_chunk_features=M, noise_rows=32, compute=torch.float32, device=CPU, max_sparse_density=below
        )
        encoder = make_encoder(sae, workspace)
        adam, beta = StackAdam(sae, out, [1e-3]), torch.full((1, 1), 0.03)
        losses[below] = []
        for x, epsilon in zip(xs, epsilons, strict=True):
            result = gradients(encoder, x.clone(), beta, epsilon.__getitem__, l2_weight=1 / D, out=out)
            losses[below].append(float((beta * result.l1).mean() + result.residual.square().sum(-1).mean() / D))
            adam.step(1.0)
    assert losses[0.5] != losses[0.0]  # else both went the same way
    assert losses[0.5] == pytest.approx(losses[0.0], rel=5e-5)
    assert losses[0.0][-1] < 0.8 * losses[0.0][0]


@pytest.mark.parametrize("variant", ["baseline", "nsae"])
def test_bfloat16_gradients_are_close_to_float64_ones_if_features_saturate(variant: str) -> None:
    sae = stack(variant, 1, bias=[4.0], dtype=torch.float32)
    sae.W_enc.mul_(0.3)
    generator = torch.Generator().manual_seed(3)
    x, epsilon = torch.randn(1, B, D, generator=generator), torch.randn(B, M, generator=generator)
    rounded, _ = stepped(sae, x, epsilon, rows=32, below=0.0, compute=torch.bfloat16)
    exact, _ = stepped(sae.double(), x.double(), epsilon.double(), rows=32, below=0.0)
    for name in ("W_enc", "b_enc", "W_dec", "b_dec"):
        error = (getattr(rounded, name).double() - getattr(exact, name)).norm() / getattr(exact, name).norm()
        assert error < 0.02, name


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 300), st.integers(0, 16), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_flatnonzero_equals_torch_nonzero(n: int, skip: int, share: float, seed: int) -> None:
    mask = torch.from_numpy(np.random.default_rng(seed).random(n + skip) < share)[skip:]
    assert torch.equal(flatnonzero(mask), torch.nonzero(mask)[:, 0])


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 3), st.integers(1, 12), st.integers(1, 40), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_pairs_equal_the_block_diagonal_mask_by_row_and_by_feature(
    k: int, rows: int, d: int, share: float, seed: int
) -> None:
    masks = np.random.default_rng(seed).random((k, rows, d)) < share
    positions, counts = torch.from_numpy(np.flatnonzero(masks)), torch.from_numpy(masks.sum(axis=1))
    pairs = Pairs.of(positions, counts, rows, pair_products)
    mask = block_diag(*masks)
    row, feature = np.nonzero(mask)
    assert pairs.row.tolist() == row.tolist()
    assert pairs.feature.tolist() == feature.tolist()
    assert pairs.row_begins.tolist() == [0, *mask.sum(1).cumsum()]
    order, rows_by_feature, begins = pairs.by_feature
    features, rows_expected = np.nonzero(mask.T)
    assert pairs.feature[order].tolist() == features.tolist()
    assert rows_by_feature.tolist() == rows_expected.tolist()
    assert begins.tolist() == [0, *mask.sum(0).cumsum()]
