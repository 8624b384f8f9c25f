"""Each architecture's fast step against PyTorch's gradients of its definition, in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from train.architectures import ARCHITECTURES
from train.loop.calibrate import threshold_of
from train.loss import total
from train.sae import SAE, ElementwiseSAE, Gradients, LossInputs
from train.step import pair_products
from train.step.autograd import AutogradStep
from train.step.encode import make_encoder
from train.step.gradients import gradients
from train.step.workspace import StepWorkspace
from train.variants import SETTINGS, ArchitectureSettings

D, M, ROWS = 7, 40, 37
CPU, F64 = torch.device("cpu"), torch.float64

# Settings beside each architecture's own, under which its step has other parts.
CASES: list[tuple[str, dict[str, Any]]] = [
    ("baseline", {}), ("nsae", {}), ("relu", {}), ("p-anneal", {"anneal_after": 5 * ROWS}),
    ("gated", {}), ("gated", {"aux_decoder": "trained", "l1_weight": "decoder-norm"}),
    ("topk", {"k": 4}), ("topk", {"k": 4, "aux": 0.0}), ("topk", {"k": 4, "aux_k": 2}), ("frozen", {"k": 4}),
    ("batchtopk", {"k": 4}), ("batchtopk", {"k": 60}), ("matryoshka", {"k": 4}),
    ("matryoshka", {"k": 4, "prefix_loss": "sum"}),
    ("jumprelu", {"bandwidth": 0.3, "threshold": 0.4}),
    ("jumprelu", {"bandwidth": 0.3, "threshold": 0.4, "ste_to_input": True}),
    ("jumprelu", {"bandwidth": 0.3, "threshold": 0.4, "sparsity": "quadratic", "target_l0": 3.0}),
    ("jumprelu", {"bandwidth": 0.3, "threshold": 0.4, "sparsity": "quadratic-row", "target_l0": 3.0}),
    ("jumprelu", {"bandwidth": 0.3, "threshold": 0.4, "sparsity": "target", "target_l0": 3.0}),
    ("jumprelu", {"bandwidth": 0.3, "threshold": 0.4, "sparsity": "tanh"}),
    ("jumprelu", {"bandwidth": 0.3, "threshold": 0.4, "sparsity": "tanh", "pre_act_loss": 0.1}),
    ("jumprelu", {"bandwidth": 0.3, "threshold": 0.4, "l0_of": "activations", "subtract_bias": False}),
    ("jumprelu", {"bandwidth": 1.0, "threshold": 0.4, "l0_of": "activations"}),
    ("topk", {"k": 4, "aux_form": "absolute", "unit_decoder": False}), ("topk", {"k": 4, "unit_decoder": False}),
    ("batchtopk", {"k": 4, "unit_decoder": False}),
    ("matryoshka", {"k": 4, "prefix_loss": "mean-of-shares"}), ("relu", {"subtract_bias": True}),
    ("p-anneal", {"anneal_after": 5 * ROWS, "penalty": "norm"}),
]  # fmt: skip
NAMES = [",".join([variant, *(f"{k}={v}" for k, v in options.items())]) for variant, options in CASES]


def make_sae(variant: str, options: dict[str, Any], bias: float, seed: int = 0) -> SAE:
    """Make a stack of one SAE with random parameters; `bias` moves its pre-activations."""
    architecture = ARCHITECTURES[variant]
    settings: ArchitectureSettings = replace(architecture.Settings(), **options)
    sae = architecture(1, d_model=D, d_sae=M, settings=settings, dtype=F64)
    sae.single(0).initialise(seed=seed, mean_norm=D**0.5)
    generator = torch.Generator().manual_seed(seed)
    for name in sae.trained:
        tensor = getattr(sae, name)
        tensor.add_(torch.randn(tensor.shape, generator=generator, dtype=F64) * 0.1)
    for name in ("b_enc", "b_gate"):
        if name in sae.trained:
            getattr(sae, name).add_(bias)
    sae.constrain_()
    return sae


def loss_inputs(x: Tensor, sae: SAE) -> LossInputs:
    dead = torch.arange(M) % 3 == 0
    epsilon = torch.randn(ROWS, M, generator=torch.Generator().manual_seed(9), dtype=F64)
    return LossInputs(
        beta=torch.tensor([0.03], dtype=F64), l2_weight=1 / D, rows=ROWS, dead=dead, step=17, n_steps=100,
        epsilon=epsilon if sae.uses_noise else None,
    )  # fmt: skip


def by_definition(sae: SAE, x: Tensor, step: LossInputs) -> tuple[dict[str, Tensor], Tensor]:
    """Return the gradient of each trained tensor, and the loss."""
    single = sae.single(0)
    tensors = {name: getattr(single, name).requires_grad_() for name in sae.trained}
    terms = single.training_pass(x, step).terms
    loss = torch.stack([term.mean() for term in terms.values()]).sum()
    by_autograd = torch.autograd.grad(loss, list(tensors.values()), allow_unused=True)
    zero = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    return {n: zero[n] if g is None else g for n, g in zip(tensors, by_autograd, strict=True)}, loss.detach()


def by_fast_step(sae: SAE, x: Tensor, step: LossInputs, *, rows: int, density: float) -> tuple[Gradients, Tensor, SAE]:
    out = Gradients.allocate(1, d_model=D, d_sae=M, device=CPU, dtype=F64, trained=sae.trained)
    workspace = StepWorkspace.allocate(
        1, rows, M, grad_chunk_features=5, noise_rows=rows, max_sparse_density=density, compute=F64, device=CPU
    )
    single = sae.single(0)
    if isinstance(sae, ElementwiseSAE):
        noise = None if step.epsilon is None else step.epsilon.__getitem__
        result = gradients(
            make_encoder(sae, workspace), x[None].clone(), step.beta[:, None], noise, l2_weight=step.l2_weight, out=out,
            batch_size=step.rows,
        )  # fmt: skip
        losses = step.beta * result.l1 + step.l2_weight * result.residual.square().sum(-1)
    else:
        _, terms = AutogradStep([single], workspace, pair_products, out).gradients(x[None].clone(), [step])
        losses = total(terms)
    return out, losses.mean(), single


@pytest.mark.parametrize("variant", ["baseline", "nsae", "relu", "p-anneal", "gated", "batchtopk", "jumprelu"])
def test_threshold_sets_the_number_of_active_features(variant: str) -> None:
    options = {"threshold": 0.4} if variant == "jumprelu" else {}
    sae = make_sae(variant, options, 4.3 if variant == "nsae" else 0.3).single(0)  # its biases start at −4
    if variant == "gated":
        sae.get_parameter("b_mag").sub_(0.5)  # some magnitudes are 0 where the gate is open
    if variant == "batchtopk":
        sae.get_buffer("threshold").fill_(0.6)
    x = torch.randn(ROWS, D, generator=torch.Generator().manual_seed(3), dtype=F64)
    compared = sae.compared(x)
    assert (compared > sae.threshold_in_use).sum() == (sae.activations(x) != 0).sum() > 200
    sae.set_threshold_(threshold_of(compared.flatten(), 150))
    assert (sae.activations(x) != 0).sum() == 150


@pytest.mark.parametrize(("variant", "options"), CASES, ids=NAMES)
@pytest.mark.parametrize("bias", [-1.2, 0.3], ids=["sparse", "dense"])
@pytest.mark.parametrize("rows", [ROWS, 8, 5])
@pytest.mark.parametrize("density", [1.0, 0.2, 0.0], ids=["pairs", "mixed", "matrices"])
def test_fast_step_has_the_gradients_of_the_definition(
    variant: str, options: dict[str, Any], bias: float, rows: int, density: float
) -> None:
    sae = make_sae(variant, options, bias)
    x = torch.randn(ROWS, D, generator=torch.Generator().manual_seed(1), dtype=F64)
    step = loss_inputs(x, sae)
    expected, loss = by_definition(sae, x, step)
    out, found_loss, _ = by_fast_step(sae, x, step, rows=rows, density=density)
    assert float(found_loss) == pytest.approx(float(loss), rel=1e-10)
    for name, gradient in expected.items():
        torch.testing.assert_close(out[name][0], gradient, rtol=1e-10, atol=1e-12)


def test_term_that_brings_jumprelu_to_its_target_weighs_the_same_at_any_scale_of_the_inputs() -> None:
    x = torch.randn(ROWS, D, generator=torch.Generator().manual_seed(1), dtype=F64)
    shares = []
    for scale in (1.0, 10.0):
        options = {"bandwidth": 0.3 * scale, "threshold": 0.4 * scale, "sparsity": "target", "target_l0": 3.0}
        sae = make_sae("jumprelu", options, 0.0).single(0)
        for name, value in {"b_dec": 0.0, "b_enc": 0.0, "threshold": 0.4 * scale}.items():
            sae.get_parameter(name).fill_(value)
        terms = sae.training_pass(scale * x, loss_inputs(x, sae)).terms
        shares.append(float(terms["sparsity"].detach() / terms["l2"].detach().mean()))
    assert shares[1] == pytest.approx(shares[0], rel=1e-12)
    assert shares[0] > 0.1


def test_each_architecture_has_the_settings_that_the_command_offers_for_it() -> None:
    assert {variant: architecture.Settings for variant, architecture in ARCHITECTURES.items()} == SETTINGS
