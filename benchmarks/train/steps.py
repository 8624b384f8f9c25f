"""Training steps that benchmarks/train/train_step.py compares, all on the same inputs and parameters.

Inputs are standard normal, and encoder rows have unit norm. The bias is the quantile at which `l0` features fire; the
learning rate is 0, so they go on firing as often. A baseline's step is: loss, all gradients, their projection, Adam,
and the constraint.

    python benchmarks/train/steps.py NAME --d-model 768 --d-sae 12288 --batch-size 4096 --l0 50
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.shared.contest import serve

ALPHA = 1e-3
STEPS_ON_GPU = 20  # per reading of the clock: a trainer does not wait for the GPU after each step
Step = Callable[[], object]


class Problem:
    """Inputs x [batch, d_model], parameters, and the type that products are computed in (`compute`)."""

    def __init__(self, d_model: int, d_sae: int, batch: int, l0: float, device: str = "cpu") -> None:
        self.d_model, self.d_sae, self.batch, self.l0 = d_model, d_sae, batch, l0
        self.device = torch.device(device)
        self.compute = torch.float32 if device == "cpu" else torch.bfloat16
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(batch, d_model, generator=generator).to(self.device)
        self.W = normalize(torch.randn(d_sae, d_model, generator=generator), dim=1).to(self.device)
        self.bias = float(torch.special.ndtri(torch.tensor(l0 / d_sae, dtype=torch.float64)))

    def parameters(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return W_enc, b_enc, W_dec, b_dec in the shapes of train/sae."""
        b_enc, b_dec = (torch.full((n,), value, device=self.device) for n, value in
                        ((self.d_sae, self.bias), (self.d_model, 0.0)))  # fmt: skip
        return self.W.clone(), b_enc, self.W.clone(), b_dec

    def settle(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def encode(p: Problem) -> Step:
    """Compute the encode product alone, into kept memory: the floor of any step that encodes all features."""
    W, b, x = (t.to(p.compute) for t in (*p.parameters()[:2], p.x))
    out = torch.empty(p.batch, p.d_sae, dtype=p.compute, device=p.device)
    return lambda: torch.addmm(b, x, W.T, out=out)


def ours(
    p: Problem, variant: str = "baseline", max_sparse_density: float | None = None, n: int = 1, **settings: Any
) -> Step:
    """Take the steps of all stacks of n SAEs, as the trainer does."""
    from benchmarks.train.storeless import storeless
    from data.system.allocator import keep_large_blocks
    from train.command.grid import make_runs
    from train.loop import tune_density
    from train.loop.build import make_noise_source, make_stacks
    from train.loop.memory_plan import make_plan
    from train.normalisation.statistics import InputStatistics
    from train.optim.schedule import Schedule
    from train.step.inputs import Inputs
    from train.variants import SETTINGS, Sizes

    options: dict[str, Any] = {"variant": (variant,), **{name: (value,) for name, value in settings.items()}}
    if "l1" in {field.name for field in fields(SETTINGS[variant])}:
        options["l1"] = (ALPHA,)
    total = 10**9
    experiment = storeless(
        make_runs((), options, Sizes(p.d_sae)), [f"blocks.{i}" for i in range(n)],
        expansion=p.d_sae / p.d_model, batch_size=p.batch, schedule=Schedule(total, lr_warmup=10**18), window=total,
        precision="float32" if p.compute == torch.float32 else "bfloat16",
    )  # fmt: skip
    plan = make_plan(experiment, p.d_model, p.device)
    if max_sparse_density is None and p.device.type == "cuda":
        max_sparse_density = tune_density.measure_break_even(plan, p.device)
    if max_sparse_density is not None:
        plan = replace(plan, max_sparse_density=max_sparse_density)
    stacks = make_stacks(plan, experiment, [InputStatistics(p.d_model**0.5)] * n, p.device)
    noise = make_noise_source(plan, p.device)
    for stack in stacks:
        W_enc, b_enc, W_dec, b_dec = p.parameters()
        sigma = 1.0 if stack.sae.uses_noise else 0.0
        stack.sae.W_enc.copy_(W_enc)
        bias = "b_enc" if "b_enc" in stack.sae.trained else "b_gate"
        getattr(stack.sae, bias).copy_(b_enc * (1 + sigma**2) ** 0.5)
        stack.sae.W_dec.copy_(W_dec)
        stack.sae.b_dec.copy_(b_dec)
    if p.device.type == "cpu":
        keep_large_blocks()  # as `train` does
    inputs, done = Inputs.of(p.x.expand(n, -1, -1), p.device), 0

    def step() -> None:
        nonlocal done
        for stack in stacks:
            stack.step(inputs, stack.batch_noise(noise, done), seen=0, measure=False)
        done += 1

    return step


def autograd(p: Problem, *, compiled: bool = False, n: int = 1) -> Step:
    """Compute the loss from the formulas; PyTorch differentiates and optimizes it. n SAEs are one stack."""
    W_enc, b_enc, W_dec, b_dec = parameters = [
        (t if n == 1 else t.expand(n, *t.shape).contiguous()).requires_grad_() for t in p.parameters()
    ]
    adam = torch.optim.Adam(parameters, lr=0.0, fused=True)
    x = p.x if n == 1 else p.x.expand(n, -1, -1).contiguous()
    product = torch.addmm if n == 1 else torch.baddbmm

    def loss(x: Tensor) -> Tensor:
        with torch.autocast(p.device.type, p.compute, enabled=p.compute != torch.float32):
            c = torch.relu(product(b_enc[..., None, :], x - b_dec[..., None, :], W_enc.mT))
            x_hat = product(b_dec[..., None, :], c, W_dec)
        mean_l1 = c.sum(dim=-1, dtype=torch.float32).mean(dim=-1)
        return ((x_hat - x).square().mean(dim=-1).mean(dim=-1) + ALPHA * mean_l1).sum()

    def constrain() -> None:
        W_dec.div_(W_dec.norm(dim=-1, keepdim=True))

    def project() -> None:
        assert W_dec.grad is not None
        W_dec.grad -= (W_dec.grad * W_dec).sum(dim=-1, keepdim=True) * W_dec

    if compiled:
        loss, constrain, project = torch.compile(loss), torch.compile(constrain), torch.compile(project)

    def step() -> None:
        adam.zero_grad()
        loss(x).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            project()
            adam.step()
            constrain()

    return step


def by_hand(p: Problem) -> Step:
    """Write dense gradients out, in kept memory: the best dense step that plain PyTorch allows without compiling."""
    W_enc, b_enc, W_dec, b_dec = p.parameters()
    parameters = [torch.nn.Parameter(t) for t in (W_enc, b_enc, W_dec, b_dec)]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    adam = torch.optim.Adam(parameters, lr=0.0, fused=True)
    c, g = (torch.empty(p.batch, p.d_sae, dtype=p.compute, device=p.device) for _ in range(2))
    x_hat, outer, inner = (torch.empty_like(p.x) for _ in range(3))
    g_W_enc, g_b_enc, g_W_dec, g_b_dec = (parameter.grad for parameter in parameters if parameter.grad is not None)
    sparsity = torch.full((1, 1), ALPHA / p.batch, dtype=p.compute, device=p.device)
    cast: Callable[[Tensor], Tensor] = lambda t: t.to(p.compute)  # noqa: E731
    wide = {"out_dtype": torch.float32} if p.compute != torch.float32 else {}

    @torch.no_grad()
    def step() -> None:
        W, V = cast(W_enc), cast(W_dec)
        torch.sub(p.x, b_dec, out=inner)
        inner_cast = cast(inner)
        torch.addmm(cast(b_enc), inner_cast, W.T, out=c)
        c.clamp_(min=0)
        torch.mm(c, V, out=x_hat, **wide)
        x_hat.add_(b_dec)
        torch.sub(x_hat, p.x, out=outer)
        outer.mul_(2 / p.d_model / p.batch)
        outer_cast = cast(outer)
        torch.mm(c.T, outer_cast, out=g_W_dec, **wide)
        torch.addmm(sparsity, outer_cast, V.T, out=g)
        torch.ops.aten.threshold_backward.grad_input(g, c, 0, grad_input=g)
        torch.mm(g.T, inner_cast, out=g_W_enc, **wide)
        torch.sum(g, dim=0, dtype=torch.float32, out=g_b_enc)
        torch.sub(outer.sum(dim=0), g_b_enc @ W_enc, out=g_b_dec)
        parallel = (g_W_dec * W_dec).sum(dim=1) if wide else torch.einsum("fd,fd->f", g_W_dec, W_dec)
        g_W_dec.addcmul_(parallel[:, None], W_dec, value=-1)
        adam.step()
        W_dec.div_(torch.linalg.vector_norm(W_dec, dim=1, keepdim=True))

    return step


STEPS: dict[str, Callable[[Problem], Step]] = {
    "encode": encode,
    "ours": ours,
    "ours, four runs": lambda p: ours(p, n=4),
    "ours, three layers": lambda p: ours(p, n=3),
    "ours, dense": lambda p: ours(p, max_sparse_density=0.0),
    "ours, sparse": lambda p: ours(p, max_sparse_density=1.0),
    "ours, NSAE": lambda p: ours(p, "nsae"),
    "by hand": by_hand,
    "autograd": autograd,
    "compiled": lambda p: autograd(p, compiled=True),
    "ours, twelve": lambda p: ours(p, n=12),
    "ours, twelve, dense": lambda p: ours(p, n=12, max_sparse_density=0.0),
    "ours, twelve, sparse": lambda p: ours(p, n=12, max_sparse_density=1.0),
    "ours, twelve NSAEs": lambda p: ours(p, "nsae", n=12),
    "ours, twelve NSAEs, dense": lambda p: ours(p, "nsae", n=12, max_sparse_density=0.0),
    "compiled, twelve": lambda p: autograd(p, compiled=True, n=12),
    "relu": lambda p: ours(p, "relu"),
    "gated": lambda p: ours(p, "gated"),
    "topk": lambda p: ours(p, "topk", k=round(p.l0)),
    "batchtopk": lambda p: ours(p, "batchtopk", k=round(p.l0)),
    "matryoshka": lambda p: ours(p, "matryoshka", k=round(p.l0)),
    "jumprelu": lambda p: ours(p, "jumprelu"),
    "p-anneal": lambda p: ours(p, "p-anneal"),
    "frozen": lambda p: ours(p, "frozen", k=round(p.l0)),
}


def problem_of(parser: argparse.ArgumentParser) -> tuple[str, Problem]:
    """Read the contestant's name and its problem from the command line."""
    parser.add_argument("name")
    parser.add_argument("--d-model", type=int, required=True)
    parser.add_argument("--d-sae", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--l0", type=float, required=True)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    return options.name, Problem(options.d_model, options.d_sae, options.batch_size, options.l0, options.device)


def compete_as(p: Problem, step: Step, **facts: Any) -> None:
    """Serve a problem's step."""
    serve(step, steps=1 if p.device.type == "cpu" else STEPS_ON_GPU, settle=p.settle, **facts)


if __name__ == "__main__":
    name, problem = problem_of(argparse.ArgumentParser())
    compete_as(problem, STEPS[name](problem))
