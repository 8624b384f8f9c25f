"""Restarting dead features: what changes, what does not, and what it does to L0 and L1."""

from __future__ import annotations

import pytest
import torch

from train.architectures import ARCHITECTURES
from train.loop.resample import draw_inputs, restart_features
from train.sae import SAE

D, M = 16, 400


def fitted(variant: str) -> SAE:
    """An SAE of which the first half of the features never fires, with or without noise."""
    sae = ARCHITECTURES[variant](d_model=D, d_sae=M)
    sae.initialise(seed=0, mean_norm=4.0)
    sae.b_dec.copy_(torch.linspace(-1, 1, D))
    sae.b_enc[: M // 2] = -1e3
    if variant == "nsae":
        sae.b_enc[M // 2 :] = -2.5
    return sae


def l0_and_l1(sae: SAE, x: torch.Tensor) -> tuple[float, float]:
    noise = torch.randn(len(x), M, generator=torch.Generator().manual_seed(3))
    c = sae.encode(x, noise)
    return float((c > 0).sum(1).double().mean()), float(c.sum(1).mean())


@pytest.mark.parametrize("variant", ["baseline", "nsae"])
def test_restarted_features_point_at_their_inputs_and_the_others_stay(variant: str) -> None:
    sae, x = fitted(variant), torch.randn(M // 2, D, generator=torch.Generator().manual_seed(1))
    before = {name: tensor.clone() for name, tensor in sae.tensors().items()}
    restart_features(sae, torch.arange(M // 2), x)
    live = slice(M // 2, M)
    for name in ("W_enc", "W_dec", "b_enc"):
        assert torch.equal(getattr(sae, name)[live], before[name][live])
    inner = x - sae.b_dec
    for weights in (sae.W_enc, sae.W_dec):
        cosine = torch.nn.functional.cosine_similarity(weights[: M // 2], inner)
        assert torch.allclose(cosine, torch.ones(M // 2), atol=1e-5)
    encoder_norm = before["W_enc"][live].norm(dim=1).mean()
    assert torch.allclose(sae.W_enc[: M // 2].norm(dim=1), 0.2 * encoder_norm)
    assert torch.allclose(sae.W_dec[: M // 2].norm(dim=1), before["W_dec"][live].norm(dim=1).mean())


def test_restarting_half_of_nsaes_features_adds_little_to_l0_and_l1() -> None:
    """With bias 0 and σ = 1 each restarted feature would fire half the time: here 200 × 0.5 more."""
    sae, x = fitted("nsae"), torch.randn(4096, D, generator=torch.Generator().manual_seed(1))
    l0, l1 = l0_and_l1(sae, x)
    restart_features(sae, torch.arange(M // 2), x[: M // 2])
    l0_after, l1_after = l0_and_l1(sae, x)
    assert l0 < l0_after < l0 + 2
    assert l1 < l1_after < 1.2 * l1
    sae.b_enc[: M // 2] = 0
    assert l0_and_l1(sae, x)[0] > l0 + 80


def test_restarted_baseline_features_start_with_bias_zero_and_unit_norm() -> None:
    sae, x = fitted("baseline"), torch.randn(M // 2, D)
    restart_features(sae, torch.arange(M // 2), x)
    assert torch.equal(sae.b_enc[: M // 2], torch.zeros(M // 2))
    assert torch.allclose(sae.W_dec.norm(dim=1), torch.ones(M))


def test_inputs_are_drawn_in_proportion_to_the_squared_loss() -> None:
    losses = torch.tensor([1.0, 2.0, 0.0, 3.0])
    counts = torch.zeros(4)
    for seed in range(3000):
        counts[draw_inputs(losses, 1, seed=seed)] += 1
    assert counts / 3000 == pytest.approx(losses.square() / 14, abs=0.03)


def test_inputs_are_drawn_without_repeats_and_depend_only_on_the_seed() -> None:
    losses = torch.rand(50)
    chosen = draw_inputs(losses, 50, seed=1)
    assert sorted(chosen.tolist()) == list(range(50))
    assert torch.equal(chosen, draw_inputs(losses, 50, seed=1))
    assert len(draw_inputs(losses, 80, seed=1)) == 80


def test_inputs_are_drawn_from_more_rows_than_torch_multinomial_takes() -> None:
    losses = torch.zeros(2**24 + 2)
    losses[[5, 2**24 + 1]] = 1.0
    assert sorted(draw_inputs(losses, 2, seed=1).tolist()) == [5, 2**24 + 1]
    assert set(draw_inputs(losses, 50, seed=1).tolist()) == {5, 2**24 + 1}
