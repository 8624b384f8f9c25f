"""Make a small stack of SAEs, and step it on the dense or the sparse path."""

from __future__ import annotations

from collections.abc import Callable

import torch

from train.architectures import ARCHITECTURES
from train.sae import ElementwiseSAE, Gradients
from train.step.encode import Encoder, make_encoder
from train.step.gradients import Forward, gradients
from train.step.workspace import StepWorkspace

CPU = torch.device("cpu")
D, M, B = 24, 96, 70


def stack(
    variant: str, n: int, *, bias: list[float], dtype: torch.dtype, seed: int = 0, device: torch.device = CPU,
    d_sae: int = M,
) -> ElementwiseSAE:  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    sae = ARCHITECTURES[variant](n, d_model=D, d_sae=d_sae, dtype=dtype)
    for name, scale in (("W_enc", 0.2), ("W_dec", 1.0), ("b_dec", 0.3)):
        tensor = getattr(sae, name)
        tensor.copy_(torch.randn(tensor.shape, generator=generator, dtype=dtype) * scale)
    sae.b_enc.copy_(torch.tensor(bias, dtype=dtype)[:, None].expand(n, d_sae))
    sae.constrain_()
    assert isinstance(sae, ElementwiseSAE)
    return sae.to(device)


def stepped(
    sae: ElementwiseSAE,
    x: torch.Tensor,
    epsilon: torch.Tensor,
    *,
    rows: int,
    below: float,
    compute: torch.dtype | None = None,
    fused: bool = False,
    encoder: Callable[[ElementwiseSAE, StepWorkspace], Encoder] = make_encoder,
) -> tuple[Gradients, Forward]:
    (n, d_sae), dtype, device = sae.b_enc.shape, sae.b_enc.dtype, sae.b_enc.device
    compute = compute or dtype
    out = Gradients.allocate(n, d_model=D, d_sae=d_sae, device=device, dtype=dtype)
    for tensor in out.tensors():
        tensor.fill_(torch.nan)  # gradients must overwrite the memory, not add to it
    workspace = StepWorkspace.allocate(
        n, rows, d_sae, grad_chunk_features=20, noise_rows=min(rows, 16), compute=compute, device=device,
        max_sparse_density=below, keep_derivative=compute.itemsize < 4 or fused, fused=fused,
    )  # fmt: skip
    beta = torch.linspace(0.01, 0.05, n * x.shape[1], dtype=dtype, device=device).view(n, -1)  # one per row
    forward = gradients(encoder(sae, workspace), x.clone(), beta, epsilon.__getitem__, l2_weight=1 / D, out=out)
    return out, forward
