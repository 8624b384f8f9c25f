"""Training steps that benchmarks/train_step.py compares, all on the same inputs and parameters.

Inputs are standard normal, encoder rows of unit norm, and the bias the quantile at which `l0` features fire; the
learning rate is 0, so that they keep firing so. A baseline's step is: loss, all gradients, what the constraint removes,
Adam, and the constraint.

    python benchmarks/_steps.py NAME --d-model 768 --d-sae 12288 --batch-size 4096 --l0 50
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

import torch
from _contest import serve
from torch import Tensor
from torch.nn.functional import normalize

ALPHA = 1e-3
CPU = torch.device("cpu")
Step = Callable[[], object]


class Problem:
    """Inputs x [batch, d_model] and parameters of the shape asked for."""

    def __init__(self, d_model: int, d_sae: int, batch: int, l0: float) -> None:
        self.d_model, self.d_sae, self.batch, self.l0 = d_model, d_sae, batch, l0
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(batch, d_model, generator=generator)
        self.W = normalize(torch.randn(d_sae, d_model, generator=generator), dim=1)
        self.bias = float(torch.special.ndtri(torch.tensor(l0 / d_sae, dtype=torch.float64)))

    def parameters(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """W_enc, b_enc, W_dec, b_dec, as train/sae has them."""
        return self.W.clone(), torch.full((self.d_sae,), self.bias), self.W.clone(), torch.zeros(self.d_model)


def encode(p: Problem) -> Step:
    """The encode product alone, into memory kept: the floor of any step that encodes all features."""
    W, b, _, _ = p.parameters()
    out = torch.empty(p.batch, p.d_sae)
    return lambda: torch.addmm(b, p.x, W.T, out=out)


def ours(p: Problem, variant: str = "baseline", sparse_below: float | None = None, n: int = 1) -> Step:
    """A group's step as the trainer takes it; of n SAEs one after another if n > 1."""
    from _experiment import storeless

    from train.group import Inputs
    from train.plan import make_plan
    from train.runs import make_runs
    from train.schedule import Schedule
    from train.trainer import make_groups, make_noise

    total = 10**9
    experiment = storeless(
        make_runs((), {"variant": (variant,), "l1": (ALPHA,)}), [f"blocks.{i}" for i in range(n)],
        expansion=p.d_sae / p.d_model, batch_size=p.batch, schedule=Schedule(total, lr_warmup=10**18), window=total,
    )  # fmt: skip
    plan = make_plan(experiment, p.d_model, CPU)
    if sparse_below is not None:
        plan = replace(plan, sparse_below=sparse_below)
    groups, noise = make_groups(plan, experiment, [p.d_model**0.5] * n, CPU), make_noise(plan, CPU)
    for group in groups:
        W_enc, b_enc, W_dec, b_dec = p.parameters()
        sigma = 1.0 if group.sae.noisy else 0.0
        group.sae.W_enc.copy_(W_enc)
        group.sae.b_enc.copy_(b_enc * (1 + sigma**2) ** 0.5)
        group.sae.W_dec.copy_(W_dec)
        group.sae.b_dec.copy_(b_dec)
    inputs, done = Inputs.of(p.x.expand(n, -1, -1), CPU), 0

    def step() -> None:
        nonlocal done
        for group in groups:
            group.step(inputs, group.epsilon(noise, done), seen=0, measure=False)
        done += 1

    return step


def autograd(p: Problem, *, compiled: bool = False) -> Step:
    """Straight from the formulas, differentiated and optimized by PyTorch."""
    W_enc, b_enc, W_dec, b_dec = parameters = [t.requires_grad_() for t in p.parameters()]
    adam = torch.optim.Adam(parameters, lr=0.0, fused=True)

    def loss(x: Tensor) -> Tensor:
        c = torch.relu(torch.addmm(b_enc, x - b_dec, W_enc.T))
        residual = torch.addmm(b_dec, c, W_dec) - x
        return residual.square().mean(dim=1).mean() + ALPHA * c.sum(dim=1).mean()

    run = torch.compile(loss) if compiled else loss

    def step() -> None:
        adam.zero_grad()
        run(p.x).backward()
        with torch.no_grad():
            assert W_dec.grad is not None
            W_dec.grad -= (W_dec.grad * W_dec).sum(dim=1, keepdim=True) * W_dec
            adam.step()
            W_dec.div_(W_dec.norm(dim=1, keepdim=True))

    return step


def by_hand(p: Problem) -> Step:
    """Dense gradients written out, in memory kept: the best dense step that plain PyTorch allows on a CPU."""
    W_enc, b_enc, W_dec, b_dec = p.parameters()
    parameters = [torch.nn.Parameter(t) for t in (W_enc, b_enc, W_dec, b_dec)]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    adam = torch.optim.Adam(parameters, lr=0.0, fused=True)
    c, g = torch.empty(p.batch, p.d_sae), torch.empty(p.batch, p.d_sae)
    x_hat, outer, inner = (torch.empty_like(p.x) for _ in range(3))
    g_W_enc, g_b_enc, g_W_dec, g_b_dec = (parameter.grad for parameter in parameters if parameter.grad is not None)
    sparsity = torch.full((1, 1), ALPHA / p.batch)

    @torch.no_grad()
    def step() -> None:
        torch.sub(p.x, b_dec, out=inner)
        torch.addmm(b_enc, inner, W_enc.T, out=c)
        c.clamp_(min=0)
        torch.addmm(b_dec, c, W_dec, out=x_hat)
        torch.sub(x_hat, p.x, out=outer)
        outer.mul_(2 / p.d_model / p.batch)
        torch.mm(c.T, outer, out=g_W_dec)
        torch.addmm(sparsity, outer, W_dec.T, out=g)
        torch.ops.aten.threshold_backward.grad_input(g, c, 0, grad_input=g)
        torch.mm(g.T, inner, out=g_W_enc)
        torch.sum(g, dim=0, out=g_b_enc)
        torch.sub(outer.sum(dim=0), g_b_enc @ W_enc, out=g_b_dec)
        parallel = torch.einsum("fd,fd->f", g_W_dec, W_dec)
        g_W_dec.addcmul_(parallel[:, None], W_dec, value=-1)
        adam.step()
        W_dec.div_(torch.linalg.vector_norm(W_dec, dim=1, keepdim=True))

    return step


STEPS: dict[str, Callable[[Problem], Step]] = {
    "encode": encode,
    "ours": ours,
    "ours, four runs": lambda p: ours(p, n=4),
    "ours, three layers": lambda p: ours(p, n=3),
    "ours, dense": lambda p: ours(p, sparse_below=0.0),
    "ours, sparse": lambda p: ours(p, sparse_below=1.0),
    "ours, NSAE": lambda p: ours(p, "nsae"),
    "by hand": by_hand,
    "autograd": autograd,
    "compiled": lambda p: autograd(p, compiled=True),
}


def problem_of(parser: argparse.ArgumentParser) -> tuple[str, Problem]:
    """The contestant's name and its problem, from the command line."""
    parser.add_argument("name")
    parser.add_argument("--d-model", type=int, required=True)
    parser.add_argument("--d-sae", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--l0", type=float, required=True)
    given = parser.parse_args()
    return given.name, Problem(given.d_model, given.d_sae, given.batch_size, given.l0)


if __name__ == "__main__":
    name, problem = problem_of(argparse.ArgumentParser())
    serve(STEPS[name](problem))
