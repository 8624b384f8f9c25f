"""The GPU's products on active pairs: by Triton's interpreter where there is no GPU, and that they compile for one."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.train.test_sparse import stack, stepped
from train import sparse

pytest.importorskip("triton", reason="Triton is not installed; PyTorch's builds for CUDA bring it along")

from train import pair_kernels

COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from train import pair_kernels

for kernel, add in ((pair_kernels._weighted_sums, {"ADD": True}), (pair_kernels._dots, {})):
    constants = {**add, "PAIRS": pair_kernels.PAIRS, "COLUMNS": pair_kernels.COLUMNS}
    kinds = {"begins": "*i64", "index": "*i64", "d": "i32", "source": "*bf16", "rows": "*bf16"}
    names = {name: "constexpr" if name in constants else kinds.get(name, "*fp32") for name in kernel.arg_names}
    found = triton.compile(ASTSource(kernel, names, constexprs=constants), target=GPUTarget("cuda", 90, 32))
    assert ".entry" in found.asm["ptx"] and len(found.asm["cubin"]) > 1000
"""


DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def segments(n: int, m: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Some pairs in each of n segments, also none, and also more than a program takes at once."""
    rng = np.random.default_rng(seed)
    counts = rng.choice([0, 1, 3, 8, 21], size=n)
    return np.concatenate([[0], counts.cumsum()]), rng.integers(0, m, counts.sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("d", [5, 256, 300])
def test_products_equal_sums_in_float64(d: int, dtype: torch.dtype) -> None:
    n, m = 11, 17
    begins, index = segments(n, m, seed=d)
    rng = np.random.default_rng(1)
    source, rows = (torch.from_numpy(rng.normal(size=size)).to(DEVICE, dtype) for size in ((m, d), (n, d)))
    weights, bias, total = (
        torch.from_numpy(rng.normal(size=size)).to(DEVICE, torch.float32) for size in (len(index), n, (n, d))
    )
    places = torch.from_numpy(begins).to(DEVICE), torch.from_numpy(index).to(DEVICE)
    expected, products = np.zeros((n, d)), np.zeros(len(index))
    for i in range(n):
        for p in range(begins[i], begins[i + 1]):
            partner = source[index[p]].double().cpu().numpy()
            expected[i] += float(weights[p]) * partner
            products[p] = float(bias[i]) + rows[i].double().cpu().numpy() @ partner
    before = total.double().cpu().numpy()
    assert pair_kernels.weighted_sums(*places, weights, source).cpu().numpy() == pytest.approx(expected, abs=1e-5)
    pair_kernels.add_weighted_sums_(total, *places, weights, source, first=False)
    assert total.cpu().numpy() == pytest.approx(before + expected, abs=1e-5)
    total.fill_(torch.nan)
    pair_kernels.add_weighted_sums_(total, *places, weights, source, first=True)
    assert total.cpu().numpy() == pytest.approx(expected, abs=1e-5)
    found = pair_kernels.dots(*places, rows, source, bias)
    assert found.dtype == torch.float32
    assert found.cpu().numpy() == pytest.approx(products, abs=1e-4)


@pytest.mark.parametrize("variant", ["baseline", "nsae"])
@pytest.mark.parametrize("bias", [[-0.5, -2.0], [1.0, -9.0], [-60.0, -60.0]], ids=["some", "mixed", "none"])
@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16])
def test_a_step_by_the_kernels_has_the_dense_gradients(
    variant: str, bias: list[float], compute: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    sae = stack(variant, 2, bias=bias, dtype=torch.float32, device=DEVICE)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 70, 24, generator=generator).to(DEVICE)
    epsilon = torch.randn(70, 96, generator=generator).to(DEVICE)
    dense, seen = stepped(sae, x, epsilon, rows=32, below=0.0, compute=compute)
    used = []
    monkeypatch.setattr(sparse, "products", lambda tensor: used.append(tensor) or pair_kernels)
    tolerance = 1e-5 if compute == torch.float32 else 0.02
    for below in (1.0, 0.3):
        used.clear()
        out, found = stepped(sae, x, epsilon, rows=32, below=below, compute=compute)
        assert used
        assert torch.equal(found.fires, seen.fires)
        several = [(found.l1, seen.l1), (found.residual, seen.residual)]
        for ours, theirs in [*zip(out.tensors(), dense.tensors(), strict=True), *several]:
            assert float((ours - theirs).norm()) <= tolerance * float(theirs.norm())


def test_the_kernels_compile_for_a_gpu() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
