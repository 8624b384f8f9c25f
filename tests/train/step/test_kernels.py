"""The GPU's kernels: by Triton's interpreter where there is no GPU, and that they compile for one."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.saes.steps import D, stack, stepped
from train.optim.adam import StackAdam
from train.sae import ElementwiseSAE, Gradients
from train.step.encode import TorchEncoder, make_encoder
from train.step.gpu.cuda_graph import CudaGraphStep, make_step
from train.step.gradients import gradients
from train.step.workspace import StepWorkspace

pytest.importorskip("triton", reason="Triton is not installed; PyTorch's builds for CUDA bring it along")

from train.step.gpu import dense_kernels, pair_kernels
from train.step.gpu.fused import FusedEncoder

COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from train.optim import adam_kernel
from train.step.gpu import dense_kernels, pair_kernels

ROWS, FEATURES, INNER = dense_kernels.ROWS, dense_kernels.FEATURES, dense_kernels.INNER
PIECES = {"inner": (1, ROWS, INNER), "dx_hat": (1, ROWS, INNER), "W": (1, FEATURES, INNER)}
PIECES |= {name: (1, ROWS, FEATURES // 2) for name in ("c", "dactivation")} | {"epsilon": (ROWS, FEATURES // 2)}
DENSE = {"ROWS": ROWS, "FEATURES": FEATURES, "INNER": INNER}
NSAE, BASELINE = ({"TANH": on, "NOISE": on, "DERIVATIVE": on} for on in (True, False))
PAIRS = {"PAIRS": pair_kernels.PAIRS, "COLUMNS": pair_kernels.COLUMNS}
KINDS = {"begins": "*i64", "index": "*i64", "source": "*bf16", "rows": "*bf16"}
KINDS |= dict.fromkeys(("fires", "fires_without_noise"), "*i32")
KINDS |= dict.fromkeys(("d", "n", "n_rows", "d_sae", "d_model", "rows_each"), "i32")
KINDS |= dict.fromkeys(("mean_rate", "square_rate", "eps", "mean_scale", "square_scale"), "fp32")
KINDS |= {name: f"tensordesc<bf16{list(shape)}>" for name, shape in PIECES.items()}
WITHOUT = {"dactivation": None, "epsilon": None, "sigma": None}

for kernel, constants, products in (
    (pair_kernels._weighted_sums, {"ADD": True, "COLUMNS": 1024}, False),
    (pair_kernels._dots, PAIRS, False),
    (adam_kernel._adam, {"UNIT": True, "COLUMNS": 1024}, False),
    (dense_kernels._encode, NSAE | DENSE, True),
    (dense_kernels._encode, BASELINE | DENSE | WITHOUT, True),
    (dense_kernels._backward, {"DERIVATIVE": True} | DENSE, True),
    (dense_kernels._backward, {"DERIVATIVE": False} | DENSE, True),
):
    names = {name: "constexpr" if name in constants else KINDS.get(name, "*fp32") for name in kernel.arg_names}
    source = ASTSource(kernel, names, constexprs=constants)
    options = dense_kernels.LAUNCH if products else {}
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    assert ".entry" in compiled.asm["ptx"] and len(compiled.asm["cubin"]) > 1000
    assert ("wgmma" in compiled.asm["ptx"]) == ("cp.async.bulk.tensor" in compiled.asm["ptx"]) == products
"""


pytestmark = pytest.mark.long

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
# What the fused kernels compute in: the interpreter multiplies no matrices of bfloat16.
FUSED = torch.bfloat16 if DEVICE.type == "cuda" else torch.float32
# The interpreter takes milliseconds per program and per pair, so the steps are small. Rows have multiples of 16 bytes.
ROWS, BLOCK, FEATURES = 20, 12, 24 if DEVICE.type == "cuda" else 28


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interpret the fused kernels on tiles of which a small step fills several, the last of them in part."""
    if DEVICE.type == "cpu":
        for name, size in {"ROWS": 16, "FEATURES": 16, "HALF": 8, "INNER": 16}.items():
            monkeypatch.setattr(dense_kernels, name, size)


def segments(n: int, m: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Some pairs in each of n segments, also none, and also more than a program takes at once."""
    rng = np.random.default_rng(seed)
    counts = rng.choice([0, 1, 3, 8, 21], size=n)
    return np.concatenate([[0], counts.cumsum()]), rng.integers(0, m, counts.sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("d", [5, 256, 300])
def test_pair_kernels_equal_sums_in_float64(d: int, dtype: torch.dtype) -> None:
    n, m = 11, 17
    begins, index = segments(n, m, seed=d)
    rng = np.random.default_rng(1)
    source, rows = (torch.from_numpy(rng.normal(size=size)).to(DEVICE, dtype) for size in ((m, d), (n, d)))
    weights, bias, total = (
        torch.from_numpy(rng.normal(size=size)).to(DEVICE, torch.float32) for size in (len(index), m, (n, d))
    )
    places = torch.from_numpy(begins).to(DEVICE), torch.from_numpy(index).to(DEVICE)
    expected, products = np.zeros((n, d)), np.zeros(len(index))
    for i in range(n):
        for p in range(begins[i], begins[i + 1]):
            partner = source[index[p]].double().cpu().numpy()
            expected[i] += float(weights[p]) * partner
            products[p] = float(bias[index[p]]) + rows[i].double().cpu().numpy() @ partner
    before = total.double().cpu().numpy()
    assert pair_kernels.weighted_sums(*places, weights, source).cpu().numpy() == pytest.approx(expected, abs=1e-5)
    pair_kernels.add_weighted_sums_(total, *places, weights, source, first=False)
    assert total.cpu().numpy() == pytest.approx(before + expected, abs=1e-5)
    total.fill_(torch.nan)
    pair_kernels.add_weighted_sums_(total, *places, weights, source, first=True)
    assert total.cpu().numpy() == pytest.approx(expected, abs=1e-5)
    products_by_kernel = pair_kernels.dots(*places, rows, source, bias)
    assert products_by_kernel.dtype == torch.float32
    assert products_by_kernel.cpu().numpy() == pytest.approx(products, abs=1e-4)


# The encoder's bias of two SAEs: how many features are active in each.
SOME, MIXED, NONE = [-0.5, -2.0], [1.0, -9.0], [-60.0, -60.0]
# The density below which an SAE's step uses pairs: both SAEs do at 1; at 0.3 the second one of MIXED.
SPARSE = [(SOME, 1.0), (MIXED, 1.0), (MIXED, 0.3), (NONE, 1.0)]


@pytest.mark.parametrize("variant", ["baseline", "nsae"])
@pytest.mark.parametrize(
    ("bias", "below", "compute"),
    [*((*case, torch.float32) for case in SPARSE), (MIXED, 1.0, torch.bfloat16), (MIXED, 0.3, torch.bfloat16)],
)
def test_kernel_step_has_the_dense_gradients(
    variant: str, bias: list[float], below: float, compute: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    sae, x, epsilon = problem(variant, bias)
    dense, seen = stepped(sae, x, epsilon, rows=BLOCK, below=0.0, compute=compute)
    used = []
    dots = pair_kernels.dots

    def counted(*arguments: Any) -> Any:
        used.append(arguments)
        return dots(*arguments)

    monkeypatch.setattr(pair_kernels, "dots", counted)
    out, result = stepped(sae, x, epsilon, rows=BLOCK, below=below, compute=compute, encoder=by_kernels)
    assert used
    assert torch.equal(result.fires, seen.fires)
    assert_close(out, result, dense, seen, 1e-5 if compute == torch.float32 else 0.02)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("variant", ["baseline", "nsae"])
@pytest.mark.parametrize(
    ("bias", "rows", "below"),
    [*((bias, ROWS, 0.0) for bias in (SOME, MIXED, NONE)), (SOME, BLOCK, 1.0), (MIXED, BLOCK, 0.3), (NONE, BLOCK, 1.0)],
)
def test_fused_step_has_the_float32_gradients(variant: str, bias: list[float], rows: int, below: float) -> None:
    sae, x, epsilon = problem(variant, bias)
    expected, seen = stepped(sae, x, epsilon, rows=rows, below=0.0)
    out, result = stepped(sae, x, epsilon, rows=rows, below=below, compute=FUSED, fused=True, encoder=by_kernels)
    assert_close(out, result, expected, seen, 1e-5 if torch.float32 == FUSED else 0.03)
    for ours, theirs in ((result.fires, seen.fires), (result.fires_without_noise, seen.fires_without_noise)):
        assert ours.dtype == torch.int64
        if torch.float32 == FUSED:
            assert torch.equal(ours, theirs)
        else:
            assert float((ours - theirs).abs().double().mean()) < 0.02 * len(x[0])
    if variant == "nsae" and bias == MIXED:
        assert not torch.equal(result.fires, result.fires_without_noise)


@pytest.mark.parametrize("variant", ["baseline", "nsae"])
@pytest.mark.parametrize("projected", [False, True])
def test_adam_kernel_takes_the_steps_of_pytorch_and_keeps_unit_rows(variant: str, projected: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    saes = [
        stack(variant, 3, bias=[0.1, 0.2, 0.3], dtype=torch.float32, device=DEVICE, d_sae=FEATURES) for _ in range(2)
    ]
    out = Gradients.allocate(3, d_model=D, d_sae=FEATURES, device=DEVICE)
    adams = [StackAdam(saes[i], out, [1e-3, 1e-2, 1e-3], fused=bool(i)) for i in range(2)]
    start = saes[0].W_dec.clone()
    for number in range(3):
        fresh = [torch.randn(tensor.shape, generator=generator).to(DEVICE) for tensor in out.tensors()]
        for adam in adams:
            for tensor, values in zip(out.tensors(), fresh, strict=True):
                tensor.copy_(values)
            if number == 1:
                adam.set_step(10)
            if projected:
                adam.project_()
            adam.step(0.5, projected=projected)
    for name, tensor in saes[0].tensors().items():
        torch.testing.assert_close(saes[1].tensors()[name], tensor, rtol=1e-5, atol=1e-6)
    for key, moment in adams[0].moments.items():
        torch.testing.assert_close(adams[1].moments[key], moment, rtol=1e-5, atol=1e-6)
    moved = (saes[1].W_dec - start).norm(dim=-1).mean(dim=-1)
    assert moved[1] > 5 * moved[0] > 0
    if variant == "baseline":
        assert saes[1].W_dec.norm(dim=-1).cpu().numpy() == pytest.approx(1, abs=1e-6)


@pytest.mark.skipif(DEVICE.type != "cuda", reason="CUDA graphs need a GPU")
@pytest.mark.parametrize("variant", ["baseline", "nsae"])
def test_cuda_graph_step_has_the_gradients_of_a_launched_one(variant: str) -> None:
    sae, x, epsilon = problem(variant, SOME)
    workspace = StepWorkspace.allocate(
        2, ROWS, FEATURES, grad_chunk_features=FEATURES, noise_rows=ROWS, max_sparse_density=0.0, compute=FUSED,
        device=DEVICE, keep_derivative=True, fused=True,
    )  # fmt: skip
    out, expected = (Gradients.allocate(2, d_model=D, d_sae=FEATURES, device=DEVICE) for _ in range(2))
    noise = epsilon.to(FUSED)
    encoder = make_encoder(sae, workspace)
    step = make_step(encoder, batch_size=ROWS, l2_weight=1 / D, out=out)
    assert isinstance(step, CudaGraphStep)
    for number in range(3):
        sae.b_enc.add_(0.1)  # parameters move between steps
        x_now, beta = x * (1 + number), torch.full((2, 1), 0.01 * number, device=DEVICE)
        noise.mul_(-1)
        seen = gradients(encoder, x_now.clone(), beta, noise.__getitem__, l2_weight=1 / D, out=expected)
        result = step(x_now.clone(), beta, noise.__getitem__)
        assert_close(out, result, expected, seen, 1e-6)
        assert torch.equal(result.fires, seen.fires)


def test_kernels_compile_for_a_gpu() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def by_kernels(sae: ElementwiseSAE, workspace: StepWorkspace) -> FusedEncoder | TorchEncoder:
    """Encode with the kernels for pairs, also on a CPU, where Triton interprets them."""
    return (FusedEncoder if workspace.fused else TorchEncoder)(sae, workspace, pair_kernels)


def problem(variant: str, bias: list[float]) -> tuple[Any, ...]:
    sae = stack(variant, 2, bias=bias, dtype=torch.float32, device=DEVICE, d_sae=FEATURES)
    generator = torch.Generator().manual_seed(1)
    x, epsilon = torch.randn(2, ROWS, D, generator=generator), torch.randn(ROWS, FEATURES, generator=generator)
    return sae, x.to(DEVICE), epsilon.to(DEVICE, torch.bfloat16).float()  # which bfloat16 holds exactly


def assert_close(out: Gradients, result: Any, expected: Gradients, seen: Any, tolerance: float) -> None:
    sums = [(result.l1, seen.l1), (result.residual, seen.residual)]
    for ours, theirs in [*zip(out.tensors(), expected.tensors(), strict=True), *sums]:
        assert ours.isfinite().all()
        assert float((ours - theirs).norm()) <= tolerance * float(theirs.norm())
