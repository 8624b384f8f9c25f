"""Loss, gradients and three steps of Adam, against NumPy in float64 written straight from the formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from train.architectures import ARCHITECTURES
from train.loss import Objective, total
from train.optim.adam import StackAdam
from train.sae import ElementwiseSAE, Gradients
from train.sae.tensors import LINEAR_MAPS
from train.step.encode import make_encoder
from train.step.features import CPU_MAX_SPARSE_DENSITY
from train.step.gradients import gradients
from train.step.workspace import StepWorkspace

D, M, B = 7, 19, 23
SIGMA, ALPHA = 0.7, 0.03


def start(rng: np.random.Generator) -> dict[str, np.ndarray]:
    parameters = {
        "W_enc": rng.normal(size=(M, D)) / 2,
        "b_enc": rng.normal(size=M) / 5,
        "W_dec": rng.normal(size=(M, D)),
        "b_dec": rng.normal(size=D) / 3,
    }
    parameters["W_dec"] /= np.linalg.norm(parameters["W_dec"], axis=1, keepdims=True)
    return parameters


def straight_line(
    variant: str, p: dict[str, np.ndarray], x: np.ndarray, epsilon: np.ndarray, beta: np.ndarray, w: float
) -> tuple[float, dict[str, np.ndarray]]:
    """Loss and gradients of one ElementwiseSAE, feature by feature of the chain rule; beta [B]."""
    shifted = x - p["b_dec"]
    pre = np.einsum("bd,md->bm", shifted, p["W_enc"]) + p["b_enc"]
    if variant == "nsae":
        pre = pre + SIGMA * epsilon
    c = np.maximum(pre, 0)
    slope = (pre > 0).astype(float)
    if variant == "nsae":
        c = np.tanh(c)
        slope = slope / np.cosh(np.maximum(pre, 0)) ** 2
    x_hat = np.einsum("bm,md->bd", c, p["W_dec"]) + p["b_dec"]
    loss = float(np.mean(beta * np.abs(c).sum(1) + w * ((x_hat - x) ** 2).sum(1)))
    d_hat = 2 * w * (x_hat - x) / len(x)
    d_c = np.einsum("bd,md->bm", d_hat, p["W_dec"]) + beta[:, None] / len(x) * (c > 0)
    d_pre = d_c * slope
    return loss, {
        "W_dec": np.einsum("bm,bd->md", c, d_hat),
        "W_enc": np.einsum("bm,bd->md", d_pre, shifted),
        "b_enc": d_pre.sum(0),
        "b_dec": d_hat.sum(0) - np.einsum("bm,md->d", d_pre, p["W_enc"]),
    }


def stack_of(variant: str, parameters: list[dict[str, np.ndarray]]) -> ElementwiseSAE:
    sae = ARCHITECTURES[variant](len(parameters), d_model=D, d_sae=M, dtype=torch.float64)
    for name in LINEAR_MAPS:
        getattr(sae, name).copy_(torch.from_numpy(np.stack([p[name] for p in parameters])))
    if variant == "nsae":
        sae.get_buffer("sigma").fill_(SIGMA)
    assert isinstance(sae, ElementwiseSAE)
    return sae


def gradients_of(n: int) -> Gradients:
    return Gradients.allocate(n, d_model=D, d_sae=M, device=torch.device("cpu"), dtype=torch.float64)


def workspace_for(n: int, rows: int) -> StepWorkspace:
    return StepWorkspace.allocate(
        n, rows, M, grad_chunk_features=5, noise_rows=2, compute=torch.float64, device=torch.device("cpu"),
        max_sparse_density=CPU_MAX_SPARSE_DENSITY,
    )  # fmt: skip


@pytest.mark.parametrize("variant", ["baseline", "nsae"])
@pytest.mark.parametrize("norm", ["batch", "store", "sample"])
@pytest.mark.parametrize("l2", ["mean", "sum"])
@pytest.mark.parametrize("rows", [B, 5])
def test_loss_and_gradients_equal_numpy_in_float64(variant: str, norm: Any, l2: Any, rows: int) -> None:
    rng = np.random.default_rng(0)
    parameters = [start(rng) for _ in range(3)]
    x, epsilon = rng.normal(size=(3, B, D)) * 2, rng.normal(size=(B, M))
    objective, power, store_norm = Objective(l2, norm), 1.5, 4.2
    norms = np.linalg.norm(x, axis=2)
    sae, out = stack_of(variant, parameters), gradients_of(len(parameters))
    alpha, powers, store_norms = (torch.full((3,), v, dtype=torch.float64) for v in (ALPHA, power, store_norm))
    beta = objective.coefficient(alpha, powers, torch.from_numpy(norms), store_norms)
    result = gradients(
        make_encoder(sae, workspace_for(3, rows)), torch.from_numpy(x.copy()), beta,
        torch.from_numpy(epsilon).__getitem__, l2_weight=objective.l2_weight(D), out=out,
    )  # fmt: skip
    losses = total(objective.terms(result.l1, beta, result.residual)).mean(dim=1)
    for i, p in enumerate(parameters):
        scale = {"batch": norms[i].mean(), "store": store_norm, "sample": norms[i]}[norm]
        w = 1 / D if l2 == "mean" else 1.0
        loss, expected = straight_line(variant, p, x[i], epsilon, np.broadcast_to(ALPHA * scale**power, (B,)), w)
        assert float(losses[i]) == pytest.approx(loss, rel=1e-12)
        for name, value in expected.items():
            assert getattr(out, name)[i].numpy() == pytest.approx(value, rel=1e-9, abs=1e-12), name


@pytest.mark.parametrize("variant", ["baseline", "nsae"])
def test_three_steps_of_adam_equal_numpy_in_float64(variant: str) -> None:
    rng = np.random.default_rng(1)
    parameters, rates = [start(rng), start(rng)], [1e-2, 3e-3]
    xs, epsilons = rng.normal(size=(3, 2, B, D)), rng.normal(size=(3, B, M))
    sae, out = stack_of(variant, parameters), gradients_of(len(parameters))
    adam = StackAdam(sae, out, rates)
    beta = torch.full((2, 1), ALPHA, dtype=torch.float64)
    for x, epsilon in zip(xs, epsilons, strict=True):
        gradients(
            make_encoder(sae, workspace_for(2, 8)), torch.from_numpy(x.copy()), beta,
            torch.from_numpy(epsilon).__getitem__, l2_weight=1 / D, out=out,
        )  # fmt: skip
        adam.step(1.0)
    for i, p in enumerate(parameters):
        moments = {name: (np.zeros_like(v), np.zeros_like(v)) for name, v in p.items()}
        for t in range(1, 4):
            _, g = straight_line(variant, p, xs[t - 1, i], epsilons[t - 1], np.full(B, ALPHA), 1 / D)
            if variant == "baseline":
                g["W_dec"] -= (g["W_dec"] * p["W_dec"]).sum(1, keepdims=True) * p["W_dec"]
            for name in p:
                m = 0.9 * moments[name][0] + 0.1 * g[name]
                v = 0.999 * moments[name][1] + 0.001 * g[name] ** 2
                moments[name] = (m, v)
                p[name] = p[name] - rates[i] * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
            if variant == "baseline":
                p["W_dec"] /= np.linalg.norm(p["W_dec"], axis=1, keepdims=True)
        for name, value in p.items():
            assert getattr(sae, name)[i].numpy() == pytest.approx(value, rel=1e-9, abs=1e-11), name
